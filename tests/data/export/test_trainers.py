"""Each trainer pairs an export as the dataset does: every target with its caption and controls, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.errors import RecipeError
from imagemill.data.export.export import export
from tests.data.export.made import png, publish, row, schema
from tests.data.export.trainers import (
    Sample,
    ai_toolkit,
    diffsynth_studio,
    musubi_tuner,
    musubi_tuner_folders,
    one_trainer,
    sd_scripts,
    simple_tuner,
)

ROWS = 1_100

IDS = {7: "a/b", 8: "狐", 9: "Fox", 10: "fox", 11: "fox_1", 12: "fox_blue", 13: "x" * 300, 14: "img.v2.png"}
"""Ids that a folder cannot have as names, or that another rule than equality would mix up."""


def id_of(number: int) -> str:
    return IDS.get(number, f"row-{number}")


def references(number: int) -> int:
    """References of the row: of every tenth one, of every hundredth two."""
    return 2 if number % 100 == 0 else 1 if number % 10 == 0 else 0


@pytest.fixture(scope="module")
def edits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of edits, over 1,000 rows, some with references."""
    rows = []
    for number in range(ROWS):
        images = [{"bytes": png(10_000 + 2 * number + place), "path": "r.png"} for place in range(references(number))]
        rows.append(row(id_of(number), number, input_images=images))
    return publish(tmp_path_factory.mktemp("edits") / "out", rows, schema(references=True), rows_per_file=400)


def expected(number: int, most: int = 9) -> tuple[bytes, str, tuple[bytes, ...]]:
    controls = [png(2 * number), *(png(10_000 + 2 * number + place) for place in range(references(number)))]
    return png(2 * number + 1), f"edit {number}", tuple(controls[:most])


def read(samples: list[Sample]) -> list[tuple[bytes, str, tuple[bytes, ...]]]:
    return sorted(
        (image.read_bytes(), caption, tuple(control.read_bytes() for control in controls))
        for image, caption, controls in samples
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "form", "most"),
    [
        (sd_scripts, "pairs", 1),
        (musubi_tuner, "pairs", 9),
        (ai_toolkit, "pairs", 9),
        (simple_tuner, "simpletuner", 9),
        (one_trainer, "onetrainer", 1),
    ],
)
def test_a_trainer_pairs_every_edit_and_trains_on_no_input(
    trainer: Callable[[Path], list[Sample]], form: str, most: int, edits: Path, tmp_path: Path
):
    assert export(edits, tmp_path / "to", form)["rows"] == ROWS
    found = read(trainer(tmp_path / "to"))
    assert found == sorted(expected(number, most) for number in range(ROWS))
    inputs = {png(2 * number) for number in range(ROWS)}
    assert not inputs & {image for image, _, _ in found}


@pytest.mark.slow
def test_musubi_tuner_pairs_the_folders_too(edits: Path, tmp_path: Path):
    export(edits, tmp_path / "to", "pairs")
    plain = [number for number in range(ROWS) if not references(number)]
    found = read(musubi_tuner_folders(tmp_path / "to" / "target", tmp_path / "to" / "control"))
    assert found == sorted(expected(number) for number in plain)


@pytest.mark.slow
def test_every_file_of_an_export_in_pairs_belongs_to_a_sample(edits: Path, tmp_path: Path):
    export(edits, tmp_path / "to", "pairs")
    used = {path for image, _, controls in musubi_tuner(tmp_path / "to") for path in (image, *controls)}
    images = {path for path in (tmp_path / "to").rglob("*") if path.suffix == ".png"}
    assert images == used


@pytest.mark.slow
def test_diffsynth_pairs_every_edit_and_the_folder_may_be_moved(edits: Path, tmp_path: Path):
    export(edits, tmp_path / "to", "diffsynth")
    moved = (tmp_path / "to").rename(tmp_path / "moved")
    found = read(diffsynth_studio(moved, ("image", "edit_image")))
    assert found == sorted(expected(number) for number in range(ROWS))


@pytest.mark.parametrize("trainer", [sd_scripts, musubi_tuner, ai_toolkit])
def test_text_to_image_has_captions_and_no_controls(trainer: Callable[[Path], list[Sample]], tmp_path: Path):
    rows = [row(str(number), number, edits=False) for number in range(5)]
    export(publish(tmp_path / "out", rows, schema(edits=False)), tmp_path / "to", "pairs", caption="caption")
    assert read(trainer(tmp_path / "to")) == sorted((png(number), f"é {number}", ()) for number in range(5))


def test_rows_without_a_control_image_are_apart_from_those_with_one(tmp_path: Path):
    control = {"bytes": png(50), "path": "c.png"}
    rows = [row("a", 1, edits=False, control_image=control), row("b", 2, edits=False)]
    export(publish(tmp_path / "out", rows, schema(edits=False, guides=("control_image",))), tmp_path / "to", "pairs")
    assert read(sd_scripts(tmp_path / "to")) == [(png(1), "prompt 1", (png(50),))]
    expected = sorted([(png(1), "prompt 1", (png(50),)), (png(2), "prompt 2", ())])
    assert read(musubi_tuner(tmp_path / "to")) == read(ai_toolkit(tmp_path / "to")) == expected


def test_rows_without_a_caption_are_left_out_and_counted(tmp_path: Path):
    rows = [row("a", 1), row("b", 2, edit_prompt=None, prompt=None), row("c", 3, edit_prompt="  ", prompt=None)]
    output = publish(tmp_path / "out", rows, schema())
    done = export(output, tmp_path / "to", "pairs")
    assert (done["rows"], done["left_out"]) == (1, {"without a caption": 2})
    with pytest.raises(RecipeError, match="no row can be exported: 2 without a caption"):
        export(output, tmp_path / "none", "pairs", "id != 'a'")


def test_a_caption_of_several_lines_is_one_line_of_text(tmp_path: Path):
    output = publish(tmp_path / "out", [row("a", 1, edit_prompt="make it\n\nred")], schema())
    export(output, tmp_path / "to", "pairs")
    assert (tmp_path / "to" / "target" / "a.txt").read_text() == "make it red"
    assert musubi_tuner(tmp_path / "to")[0][1] == "make it\n\nred"


def encoded(form: str, **options: Any) -> bytes:
    image = Image.new("RGB", (16, 8), "red")
    image.paste("blue", (0, 0, 8, 8))
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_an_input_that_trainers_do_not_open_is_png_and_one_on_its_side_is_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[274] = 6
    rows = [
        row("tiff", 1, input_image={"bytes": encoded("TIFF"), "path": "a.tif"}),
        row("jfif", 2, input_image={"bytes": encoded("JPEG"), "path": "a.jfif"}),
        row("turned", 3, input_image={"bytes": encoded("JPEG", exif=exif), "path": "a.jpg"}),
    ]
    export(publish(tmp_path / "out", rows, schema()), tmp_path / "to", "pairs")
    control = tmp_path / "to" / "control"
    assert sorted(path.name for path in control.iterdir()) == ["jfif.jpg", "tiff.png", "turned.jpg"]
    assert (control / "jfif.jpg").read_bytes() == encoded("JPEG")
    assert Image.open(control / "tiff.png").format == "PNG"
    turned = Image.open(control / "turned.jpg")
    assert (turned.size, turned.getexif().get(274)) == ((8, 16), None)
    assert turned.getpixel((4, 2))[2] > 200


def test_simpletuner_and_onetrainer_have_the_suffixes_that_they_pair_by(tmp_path: Path):
    rows = [row("a", 1, input_image={"bytes": encoded("JPEG"), "path": "a.jpg"}), row("b", 2)]
    output = publish(tmp_path / "out", rows, schema())
    export(output, tmp_path / "simple", "simpletuner")
    assert [image.suffix for image in (tmp_path / "simple" / "control").iterdir()] == [".png", ".png"]
    assert Image.open(tmp_path / "simple" / "control" / "a.png").format == "PNG"
    export(output, tmp_path / "one", "onetrainer")
    assert Image.open(tmp_path / "one" / "a-condlabel.png").format == "PNG"


def test_masks_lie_where_each_trainer_looks_for_them(tmp_path: Path):
    mask = {"bytes": png(99), "path": "m.png"}
    made = schema(has_masks=True)
    output = publish(tmp_path / "out", [row("a", 1, mask_image=mask), row("b", 2)], made)
    export(output, tmp_path / "pairs", "pairs")
    assert (tmp_path / "pairs" / "mask" / "a.png").read_bytes() == png(99)
    assert (tmp_path / "pairs" / "unmasked" / "target" / "b.png").exists()
    export(output, tmp_path / "one", "onetrainer")
    assert (tmp_path / "one" / "a-masklabel.png").read_bytes() == png(99)
    assert not (tmp_path / "one" / "b-masklabel.png").exists()


def test_an_image_that_two_rows_have_is_one_file_with_two_names(tmp_path: Path):
    rows = [row("a", 1), row("b", 2, input_image={"bytes": png(2), "path": "2.png"})]
    export(publish(tmp_path / "out", rows, schema()), tmp_path / "to", "pairs")
    assert (tmp_path / "to" / "control" / "a.png").samefile(tmp_path / "to" / "control" / "b.png")


def test_the_commands_of_trainers_are_beside_the_export(tmp_path: Path):
    to = tmp_path / "it's here"
    export(publish(tmp_path / "out", [row("a", 1)], schema()), to, "pairs")
    text = (to / "train.md").read_text()
    assert "sdxl_train_control_net.py" in text
    assert "flux_kontext_train_network.py" in text
    assert "'\"'\"'s here/kohya.toml'" in text
