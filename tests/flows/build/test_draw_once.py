"""Draw once: a build generates exactly what is missing, and ends like a build into an empty folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.errors import BuildFailed, NotAnImagemillDataset, RecipeError
from imagemill.data.staging.store import Staging
from imagemill.data.storage.locations import hash_file
from tests.commands import only_file
from tests.conftest import Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of

FOUR = ["a fox", "a kite", "a ring", "a star"]


@pytest.fixture
def from_nothing(build: Build, tmp_path: Path) -> Callable[..., str]:
    """The fingerprint of a build of the same recipe into an empty folder."""

    def run(fields: dict[str, Any], overrides: dict[str, Any] | None = None) -> str:
        fresh = {**(overrides or {}), "output": str(tmp_path / "from-nothing")}
        return build(fields, fresh)["fingerprint"]

    return run


@pytest.mark.parametrize(
    ("prompts", "missing", "removed"),
    [
        ([*FOUR, "a cat", "a dog"], 2, 0),
        (["a cat", *FOUR], 1, 0),
        (["a fox", "a ring", "a star"], 0, 1),
        (FOUR[::-1], 0, 0),
        (["a star", "a cat", "a fox"], 1, 2),
        ([*FOUR, "a fox"], 1, 0),
    ],
    ids=["appended", "inserted", "deleted", "reordered", "all at once", "duplicated"],
)
def test_changed_prompts_generate_exactly_the_missing_images(
    build: Build, fields: dict, from_nothing: Callable, prompts: list[str], missing: int, removed: int
):
    build(fields)
    write_prompts(Path(fields["prompts"]), prompts)
    second = build(fields)
    assert (second["generated"], second["removed"], second["rows"]) == (2 * missing, removed, len(prompts))
    assert second["fingerprint"] == from_nothing(fields)


@pytest.mark.parametrize(
    ("change", "generated"),
    [
        ({"edit.instructions": ["make it blue"]}, 4),
        ({"edit.instructions": ["make it red", "make it blue"]}, 4),
        ({"generate.images_per_prompt": 2}, 8),
        ({"edit.steps": 2}, 4),
        ({"generate.steps": 2}, 8),
        ({"generate.dtype": "bfloat16"}, 8),
        ({"generate.batch_size": 3, "edit.batch_size": 1, "shard_size": 3}, 0),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_changed_recipe_generates_exactly_the_affected_images(
    build: Build, fields: dict, from_nothing: Callable, change: dict[str, Any], generated: int
):
    build(fields)
    second = build(fields, change)
    assert second["generated"] == generated
    # Another batch size may change the last bits of pixels: it is recorded, and regenerates nothing.
    if generated:
        assert second["fingerprint"] == from_nothing(fields, change)


def test_a_byte_of_the_models_files_regenerates_its_images(build: Build, fields: dict, model: Path, tmp_path: Path):
    mine = tmp_path / "mine"
    shutil.copytree(model, mine)
    build(fields, {"edit.model": str(mine)})
    scheduler = mine / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("\n}", '\n,"note": 1}', 1))
    assert build(fields, {"edit.model": str(mine)})["generated"] == 4


def test_a_moved_folder_generates_nothing(build: Build, fields: dict, tmp_path: Path):
    build(fields)
    moved = tmp_path / "archive" / "moved"
    moved.parent.mkdir()
    shutil.copytree(fields["output"], moved, ignore=shutil.ignore_patterns(".imagemill"))
    assert build(fields, {"output": str(moved)})["generated"] == 0


def test_a_carried_column_is_updated_without_generating(build: Build, fields: dict):
    rows = [{"prompt": prompt, "id": prompt, "label": 1} for prompt in FOUR]
    write_prompts(Path(fields["prompts"]), rows)
    build(fields)
    write_prompts(Path(fields["prompts"]), [*rows[:3], {**rows[3], "label": 2, "extra": "x"}])
    second = build(fields)
    assert (second["generated"], second["model_loads"]) == (0, 0)
    found = {row["id"]: (row["label"], row["extra"]) for row in rows_of(fields["output"])}
    assert (found["a fox"], found["a star"]) == ((1, None), (2, "x"))


def test_rows_whose_prompt_was_removed_stay_if_the_recipe_keeps_them(build: Build, fields: dict):
    build(fields)
    write_prompts(Path(fields["prompts"]), [{"prompt": "a cat", "label": 1}])
    second = build(fields, {"on_removed": "keep"})
    assert (second["generated"], second["removed"], second["rows"]) == (2, 0, 5)
    assert sorted(row["prompt"] for row in rows_of(fields["output"])) == sorted([*FOUR, "a cat"])
    assert build(fields, {"on_removed": "keep"})["generated"] == 0


def test_another_format_is_encoded_from_lossless_images_and_refused_from_lossy_ones(
    build: Build, fields: dict, from_nothing: Callable
):
    build(fields)
    jpeg = build(fields, {"image_format": "jpeg"})
    assert (jpeg["generated"], jpeg["fingerprint"]) == (0, from_nothing(fields, {"image_format": "jpeg"}))
    with pytest.raises(RecipeError, match=r"ask for png, but 4 finished images are kept only as jpeg-95.*about \d+ s"):
        build(fields)
    assert len(rows_of(fields["output"])) == 4


@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped"])
def test_a_damaged_file_is_noticed_and_only_its_rows_are_rebuilt(build: Build, fields: dict, damage: str):
    first = build(fields)
    write_prompts(Path(fields["prompts"]), [*FOUR, *(f"number {number}" for number in range(12))])
    build(fields)
    path = sorted((Path(fields["output"]) / "data").iterdir())[-1]
    lost = len(rows_of(fields["output"])) if len(list(path.parent.iterdir())) == 1 else None
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(bytes(content) if damage == "flipped" else bytes(content[:-50]))
    again = build(fields)
    assert again["rows"] == 16
    assert lost is None or again["generated"] == 2 * lost
    assert first["rows"] == 4


def test_a_folder_with_other_files_is_refused_and_not_touched(build: Build, fields: dict):
    folder = Path(fields["output"])
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(
        NotAnImagemillDataset, match="exists and is not an imagemill dataset; nothing in it was touched"
    ):
        build(fields)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_another_recipes_folder_is_refused_and_not_touched(build: Build, fields: dict):
    build(fields)
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(fields["output"]).rglob("*"))
    with pytest.raises(NotAnImagemillDataset, match=r"holds the dataset 'small', and the recipe's name is 'other'"):
        build(fields, {"name": "other"})
    assert sorted((path, path.stat().st_mtime_ns) for path in Path(fields["output"]).rglob("*")) == before


def test_a_hundred_nightly_builds_leave_few_files(tmp_path: Path):
    from imagemill.data.dataset.files.compaction import mergeable
    from imagemill.data.dataset.files.shard_files import CommittedFile

    files: list[CommittedFile] = []
    copied = 0
    for night in range(100):
        files.append(CommittedFile(f"train-{night:05d}.parquet", 10, 1_000_000, ""))
        while group := mergeable(files):
            copied += sum(file.bytes for file in group)
            first = files.index(group[0])
            merged = CommittedFile(group[0].name, 0, sum(file.bytes for file in group), "")
            files[first : first + len(group)] = [merged]
    assert len(files) <= 10
    assert copied <= 10 * 100_000_000


def test_small_files_of_one_build_are_merged_with_the_same_rows(build: Build, fields: dict):
    build(fields)
    merged = only_file(Path(fields["output"]))
    assert merged.name == f"train-00000-{hash_file(merged)[:8]}.parquet"
    assert [row["prompt"] for row in rows_of(fields["output"])] == FOUR


def test_more_set_aside_than_allowed_fails_the_build_and_keeps_the_good_rows(build: Build, fields: dict):
    Path(fields["prompts"]).write_text('{"prompt": "a fox"}\nnot json\n{"prompt": "a kite"}\n')
    with pytest.raises(BuildFailed, match=r"1 rows are set aside, more than recipe.max_set_aside allows \(5% of 3\)"):
        build(fields)
    assert json.loads((Path(fields["output"]) / "manifest.json").read_text())["rows"] == 2
    assert build(fields, {"max_set_aside": 0.4})["generated"] == 0


def test_images_that_fail_a_check_are_generated_once_more_then_set_aside_until_a_retry(build: Build, fields: dict):
    # With all weights zero the model generates a single colour for every prompt.
    blank = Path(fields["output"]).parent / "blank"
    make_blank(Path(fields["generate"]["model"]), blank)
    overrides = {"generate.model": str(blank), "edit": None, "max_set_aside": 1.0}
    figures = build(fields, overrides)
    assert (figures["rows"], figures["set_aside"]) == (0, 4)
    line = json.loads((Path(fields["output"]) / "set_aside.jsonl").read_text().splitlines()[0])
    assert (line["stage"], line["attempts"], line["reason"]) == ("generate", 2, "the image is of one colour")
    again = build(fields, overrides)
    assert (again["planned"], again["set_aside"]) == (0, 4)
    assert build(fields, overrides, retry_set_aside=True)["planned"] == 4
    assert build(fields, {**overrides, "checks.blank": False}, retry_set_aside=True)["rows"] == 4


def make_blank(model: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, target)
    weights = target / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: torch.zeros_like(value) for name, value in load_file(weights).items()}, weights)


def test_a_staged_image_that_is_damaged_is_generated_again(tmp_path: Path):
    from PIL import Image

    from imagemill.data.images.codec import Encoding
    from imagemill.data.records import Drawing
    from imagemill.data.staging.store import Generated, StageRequest

    staging, drawing = Staging(tmp_path), Drawing("ab" * 16, "a fox", 1, 1)
    encodings = {drawing.key: [Encoding("png")]}
    staging.stage(
        [StageRequest(Image.new("RGB", (8, 8), "red"), drawing, encodings[drawing.key], Generated("m", 1, "cpu"))]
    )
    assert staging.missing([drawing], encodings) == []
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert staging.read(drawing.key, "png") is None
    assert staging.missing([drawing], encodings) == [drawing]
