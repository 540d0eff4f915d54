"""Names of files are made of ids, whatever these are, and differ on every disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.data.errors import RecipeError
from imagemill.data.export.entry import Choices
from imagemill.data.export.export import export
from imagemill.data.export.names import MAX_LENGTH, names_of, plain_name
from tests.data.export.made import publish, row, schema

HOSTILE = ["a/b", "../../etc/passwd", "/etc/passwd", "狐", "𠮷野家", "con", "NUL", "x" * 300, "..", ".hidden", "-rf"]
HOSTILE += ["a.b", "a\0b", "a b", "tail.", "\ud800", "C:\\x", "a*?", "é", "é", ""]


def named(ids: list[str], **choices: str) -> list[str]:
    rows = [{"id": one, "row_key": f"{number:064d}", "variant": 0} for number, one in enumerate(ids)]
    return [one.stem for one in names_of(rows, Choices(Path("/to"), **choices))]


def test_a_plain_id_is_the_name():
    assert named(["fox", "row-0007", "IMG_001"]) == ["fox", "row-0007", "IMG_001"]


def test_any_id_becomes_a_name_that_every_disk_takes():
    names = named(HOSTILE)
    for name in names:
        assert name.isascii()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
        assert not name.startswith(("-", "_"))
        assert 0 < len(name) <= MAX_LENGTH
        assert name.casefold() not in ("con", "nul")
    assert len({name.casefold() for name in names}) == len(HOSTILE)


def test_ids_that_differ_in_capitals_alone_have_names_that_differ_in_more():
    names = named(["Fox", "fox", "FOX", "fox-1"])
    assert len({name.casefold() for name in names}) == 4
    assert names[3] == "fox-1"


def test_an_id_that_is_another_ids_name_gets_a_name_that_differs():
    odd = plain_name("a/b")
    assert len({name.casefold() for name in named(["a/b", odd])}) == 2


def test_variants_turns_and_candidates_of_one_id_differ():
    rows = [
        {"id": "fox", "variant": 0, "turn_index": 0, "candidate": 0, "row_key": "a"},
        {"id": "fox", "variant": 1, "turn_index": 0, "candidate": 0, "row_key": "b"},
        {"id": "fox", "variant": 0, "turn_index": 2, "candidate": 3, "row_key": "c"},
    ]
    assert [one.stem for one in names_of(rows, Choices(Path("/to")))] == ["fox", "fox-v1", "fox-t2-c3"]


def test_a_column_names_the_files_as_those_of_the_images_they_go_with(tmp_path: Path):
    rows = [row("a", 1, style="photo/IMG_7.JPG"), row("b", 2, style="IMG_8.jpg"), row("c", 3, style="IMG_8.png")]
    export(publish(tmp_path / "out", rows, schema()), tmp_path / "to", "pairs", name="style")
    names = sorted(path.stem for path in (tmp_path / "to" / "target").glob("*.png"))
    assert len(names) == 3
    assert names[0].startswith("IMG_8-")
    assert names[2].startswith("photo-IMG_7-")


@pytest.mark.parametrize("choice", ["name", "caption", "by_class"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(choice: str, tmp_path: Path):
    form = "imagefolder" if choice == "by_class" else "files"
    output = publish(tmp_path / "out", [row("a", 1)], schema())
    with pytest.raises(RecipeError, match=r"there is no column 'titel'; there is 'edit_prompt', 'prompt', 'id'"):
        export(output, tmp_path / "to", form, **{choice: "titel"})
    assert not (tmp_path / "to").exists()


def test_a_choice_that_a_format_does_not_have_is_refused_with_those_that_do(tmp_path: Path):
    output = publish(tmp_path / "out", [row("a", 1)], schema())
    with pytest.raises(RecipeError, match="--class does not fit the format files; it is for imagefolder"):
        export(output, tmp_path / "to", "files", by_class="style")
