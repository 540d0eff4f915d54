"""A row whose image is read otherwise than before has another key; what is there from before is not generated again."""

import json
from pathlib import Path

import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.identity import image_key
from imagemill.data.images.codec import Encoding
from imagemill.data.images.modes import READING
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import schema_of
from imagemill.data.planning.row_planner import DrawingSpec, RowPlanner
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.row import Row
from imagemill.data.records import ModelFacts, RowPlan
from imagemill.data.staging.store import Generated, StageRequest, Staging
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models
from tests.data.images.profiles import DISPLAY_P3, SRGB, rgb_profile
from tests.data.planning.test_large_images import ROLES, plan

EDIT = {"edit": {"model": "bundled", "instructions": ["make it red"]}}


def write(folder: Path, *names: str, **fields) -> Path:
    """A prompts file with a row for each image."""
    (folder / "p.jsonl").write_text(
        "".join(json.dumps({"prompt": "a", "images": name, **fields}) + "\n" for name in names)
    )
    return folder / "p.jsonl"


@pytest.fixture(autouse=True)
def images(tmp_path: Path) -> None:
    """Three images of the same colours, two with a profile."""
    image = Image.new("RGB", (32, 32), (60, 160, 70))
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "srgb.png", icc_profile=rgb_profile(SRGB))
    image.save(tmp_path / "p3.png", icc_profile=rgb_profile(DISPLAY_P3))


def key_in(row: RowPlan, reading: int | None) -> str:
    """The edit's key, computed from its parts."""
    recipe = load_recipe({"prompts": "p.jsonl", "name": "x", **EDIT})
    names = ("prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale")
    decides = {name: getattr(row.final, name) for name in names}
    decides |= {"source": f"sha256:{row.final.source_hash}", "reading": reading}
    return image_key("edit", resolve_models(recipe)["edit"].facts().identity, decides)


def test_only_a_row_whose_image_is_read_otherwise_has_another_key(tmp_path):
    _, reasons, rows = plan(write(tmp_path, "plain.png", "srgb.png", "p3.png"), tmp_path / "out", **EDIT)
    assert reasons == []
    assert [row.final.key for row in rows] == [
        key_in(row, reading) for row, reading in zip(rows, (None, None, READING))
    ]
    assert [row.final.reading for row in rows] == [1, 1, READING]


def test_the_ids_and_seeds_of_rows_do_not_depend_on_how_images_are_read(tmp_path, monkeypatch):
    prompts = write(tmp_path, "p3.png")
    _, _, (row,) = plan(prompts, tmp_path / "out", **EDIT)
    monkeypatch.setattr("imagemill.data.images.modes.Stored.reading", None)
    _, _, (before,) = plan(prompts, tmp_path / "out", **EDIT)
    assert (row.id, row.final.seed) == (before.id, before.final.seed)
    assert row.final.key != before.final.key


def test_an_image_that_was_staged_before_is_not_generated_again(tmp_path, monkeypatch):
    prompts = write(tmp_path, "p3.png")
    monkeypatch.setattr("imagemill.data.images.modes.Stored.reading", None)
    _, _, (before,) = plan(prompts, tmp_path / "out", **EDIT)
    monkeypatch.undo()
    staged = Folder(tmp_path / "out").staged
    staged.mkdir(parents=True)
    request = StageRequest(Image.new("RGB", (32, 32)), before.final, [Encoding("png")], Generated("m", 1, "cpu"))
    Staging(staged).stage([request])
    _, _, (row,) = plan(prompts, tmp_path / "out", **EDIT)
    assert (row.final.key, row.final.reading) == (before.final.key, 1)


def only_drawing(planner: RowPlanner, row: Row) -> DrawingSpec:
    (group,) = planner.planned_rows(row)
    (planned,) = group
    (drawing,) = planned.path
    return drawing


@pytest.mark.parametrize("role", ROLES)
def test_every_image_that_a_row_gives_counts(tmp_path, role):
    row, fields = ROLES[role]
    (tmp_path / "p3.png").rename(tmp_path / "big.png")
    (tmp_path / "plain.png").rename(tmp_path / "small.png")
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "a", **row}))
    recipe = load_recipe({"prompts": str(tmp_path / "p.jsonl"), "output": str(tmp_path / "out"), **fields})
    facts = ModelFacts("m", None, {}, 64, 64, 4, 1.0, 16, False)
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        schema = schema_of(recipe, load_rows(recipe, worklist), measures_of)
        (found,) = worklist.rows()
    planner = RowPlanner(recipe, {"generate": facts, "edit": facts}, schema)
    drawing, before = (only_drawing(planner, row) for row in (found, found._replace(reading=None)))
    assert (drawing.fields["reading"], before.fields["reading"]) == (READING, 1)
    assert drawing.key != before.key


def test_the_first_profile_that_cannot_be_used_is_named_and_no_other(tmp_path, caplog):
    for name in ("first", "second"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png", icc_profile=b"damaged")
    _, reasons, rows = plan(write(tmp_path, "plain.png", "first.png", "second.png"), tmp_path / "out", **EDIT)
    (warning,) = [record.getMessage() for record in caplog.records if "colour profile" in record.getMessage()]
    assert f"the image '{tmp_path}/first.png' has a colour profile that cannot be used" in warning
    assert (reasons, [row.final.reading for row in rows]) == ([], [1, 1, 1])
