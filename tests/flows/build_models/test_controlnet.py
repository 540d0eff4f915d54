"""A row's control image conditions its image, is stored beside it, and regenerates only that row when it changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import InputError, RecipeError
from tests.commands import Report
from tests.conftest import Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of
from tests.models.controlnets import save_controlnet
from tests.models.tiny import save_tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a small model and of a ControlNet for it."""
    folder = tmp_path_factory.mktemp("controlled")
    model = save_tiny("StableDiffusionPipeline", folder)
    return model, save_controlnet(model, folder / "edges")


@pytest.fixture
def guided(tmp_path: Path, models: tuple[Path, Path]) -> dict[str, Any]:
    """The fields of a recipe for two rows, each with its control image."""
    model, controlnet = models
    for name, image in (("slope", Image.linear_gradient("L")), ("ring", Image.radial_gradient("L"))):
        image.resize((64, 96)).save(tmp_path / f"{name}.png")
    rows = [{"id": name, "prompt": "a fox", "control_image": f"{name}.png"} for name in ("slope", "ring")]
    write_prompts(tmp_path / "prompts.jsonl", rows)
    size = {"width": 64, "height": 96, "steps": 2, "batch_size": 2}
    return {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "generate": {"model": str(model), "controlnet": {"model": str(controlnet)}, **size},
        "max_set_aside": 1.0,
    }


@pytest.mark.slow
def test_a_changed_control_image_regenerates_only_its_row(
    build: Build, report: Report, cluster: str, guided: dict, tmp_path: Path
):
    first = build(guided)
    for row in rows_of(Path(guided["output"])):
        assert row["control_image"]["bytes"] == (tmp_path / row["control_image"]["path"]).read_bytes()
    again = build(guided)
    Image.effect_noise((64, 96), 90).save(tmp_path / "slope.png")
    changed = build(guided)
    weaker = build(guided, {"generate.controlnet.scale": 0.5})
    assert [run["generated"] for run in (first, again, changed, weaker)] == [2, 0, 1, 2]
    code, verified = report("verify", guided["output"], "--regenerate", "2", "--cluster", cluster)
    assert (code, verified["regenerated"], verified["bit_equal"]) == (0, 2, 2)
    code, _ = report("export", guided["output"], "--to", str(tmp_path / "exported"), "--format", "imagefolder")
    lines = (tmp_path / "exported/metadata.jsonl").read_text().splitlines()
    exported = {json.loads(line)["id"]: json.loads(line)["control_image_file_name"] for line in lines}
    assert (tmp_path / "exported" / exported["slope"]).read_bytes() == (tmp_path / "slope.png").read_bytes()


@pytest.mark.slow
def test_an_image_with_control_can_be_edited(build: Build, report: Report, cluster: str, guided: dict, models: tuple):
    edit = {"model": str(models[0]), "task": "image-to-image", "instructions": ["a crow"], "steps": 3, "batch_size": 2}
    assert build({**guided, "edit": edit})["generated"] == 4
    assert {row["control_image"]["path"] for row in rows_of(Path(guided["output"]))} == {"slope.png", "ring.png"}
    code, verified = report("verify", guided["output"], "--regenerate", "1", "--cluster", cluster)
    assert (code, verified["bit_equal"]) == (0, 1)


def test_rows_without_a_usable_control_image_are_set_aside(build: Build, guided: dict, tmp_path: Path):
    values = ["slope.png", "absent.png", None, 7]
    rows = [{"prompt": "a fox", "control_image": value} for value in values]
    write_prompts(tmp_path / "prompts.jsonl", [*rows, {"prompt": "a fox"}])
    assert build(guided)["rows"] == 1
    reasons = (Path(guided["output"]) / "set_aside.jsonl").read_text()
    for words in (
        "absent.png",
        "the control image is empty ('control_image')",
        "'control_image' must be a path, not 7",
        "no control image: the row has no 'control_image', but 'prompt'",
    ):
        assert words in reasons


def test_a_build_stops_if_every_row_lacks_the_control_image(build: Build, guided: dict, tmp_path: Path):
    write_prompts(tmp_path / "prompts.jsonl", ["a fox"])
    with pytest.raises(InputError, match="no control image: the row has no 'control_image'"):
        build(guided)


def test_a_field_for_control_images_without_a_controlnet_is_one_clear_message(guided: dict):
    plain = {**guided, "generate": {}, "columns": {"control_image": "edges"}}
    with pytest.raises(
        RecipeError, match=r"columns\.control_image is 'edges', but no 'generate' section has the controlnet"
    ):
        load_recipe(plain)


def test_without_a_controlnet_a_column_of_that_name_is_carried(build: Build, fields: dict, tmp_path: Path):
    write_prompts(Path(fields["prompts"]), [{"prompt": "a fox", "control_image": "nowhere.png"}])
    build(fields, {"edit": None})
    assert [row["source_control_image"] for row in rows_of(Path(fields["output"]))] == ["nowhere.png"]
