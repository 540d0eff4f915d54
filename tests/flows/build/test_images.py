"""Source images of every format and size are edited upright, undistorted and in the documented size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import RecipeError
from imagemill.data.export.export import export
from imagemill.data.images.codec import decode_image
from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.build_context import resolve_models
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from tests.conftest import write_prompts
from tests.flows.build.test_build_dataset import rows_of
from tests.models.tiny import save_tiny


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.fixture
def given(fields: dict) -> dict:
    """A recipe that edits given images; its prompts are not written yet."""
    return {**fields, "generate": None, "shard_size": 100}


def write_images(fields: dict, images: dict[str, Image.Image], **options) -> None:
    folder = Path(fields["prompts"]).parent
    for name, image in images.items():
        image.save(folder / name, **options.get(name, {}))
    write_prompts(Path(fields["prompts"]), [{"id": name, "images": name} for name in images])


def sizes_of(fields: dict) -> dict[str, tuple[int, int]]:
    return {row["id"]: decode_image(row["edited_image"]["bytes"], "p").size for row in rows_of(fields["output"])}


def test_images_of_many_kinds_and_sizes_are_edited_in_one_build(build, given):
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (48, 64), dtype=np.uint16))
    images = {
        "plain.png": noise(64, 64),
        "turned.jpg": noise(64, 32),
        "clear.png": noise(64, 64, "RGBA"),
        "palette.gif": noise(48, 64, "P"),
        "deep.png": deep,
        "print.jpg": noise(64, 48, "CMYK"),
        "odd.webp": noise(70, 41),
        "tiny.bmp": noise(9, 40),
    }
    write_images(given, images, **{"turned.jpg": {"exif": turned}})
    given["images"] = {"min_side": 9}
    assert build(given)["generated"] == 8
    assert sizes_of(given) == {
        "plain.png": (64, 64),
        "turned.jpg": (32, 64),
        "clear.png": (64, 64),
        "palette.gif": (48, 64),
        "deep.png": (64, 48),
        "print.jpg": (64, 48),
        "odd.webp": (64, 32),
        "tiny.bmp": (16, 32),
    }
    folder = Path(given["prompts"]).parent
    assert all(row["input_image"]["bytes"] == (folder / row["id"]).read_bytes() for row in rows_of(given["output"]))


def test_an_image_does_not_depend_on_other_images_of_any_size(build, given, tmp_path):
    write_images(
        given, {"a.png": noise(64, 48), "b.png": noise(48, 64), "c.png": noise(64, 48), "d.png": noise(32, 32)}
    )
    build(given)
    together = {row["id"]: row["sha256"] for row in rows_of(given["output"])}
    write_prompts(Path(given["prompts"]), [{"id": "c.png", "images": "c.png"}])
    build(given, {"output": str(tmp_path / "alone"), "name": "alone"})
    (alone,) = rows_of(tmp_path / "alone")
    assert alone["sha256"] == together["c.png"]


@pytest.fixture
def models_file(model: Path, tmp_path: Path) -> str:
    """A user's models file: the small model, at 64 x 64 pixels."""
    entry = {"family": "FluxPipeline", "folder": str(model), "width": 64, "height": 64, "guidance_scale": 1.0}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": {"mine": entry}}))
    return str(tmp_path / "models.yaml")


def test_an_edit_at_the_nearest_bucket_can_be_regenerated(build, given, models_file, cluster):
    given |= {"models_file": models_file, "edit": {**given["edit"], "model": "mine", "size": "bucket"}}
    write_images(given, {"wide.png": noise(300, 190), "high.png": noise(100, 170), "square.png": noise(200, 190)})
    build(given)
    assert sizes_of(given) == {"wide.png": (80, 48), "high.png": (48, 80), "square.png": (64, 64)}
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(given["output"], regenerate=3)["bit_equal"] == 3


def test_a_rows_shape_overrides_the_recipes_and_both_override_the_models_size(build, fields, models_file):
    fields |= {"models_file": models_file, "edit": None, "columns": {"aspect_ratio": "shape"}}
    fields["generate"] = {"model": "mine", "steps": 1, "batch_size": 2, "aspect_ratio": "3:2"}
    rows = [
        {"id": "own", "prompt": "a", "shape": "1:4"},
        {"id": "recipe", "prompt": "a"},
        {"id": "size", "prompt": "a", "shape": "1:4", "width": 64, "height": 96},
        {"id": "bad", "prompt": "a", "shape": "wide"},
    ]
    write_prompts(Path(fields["prompts"]), rows)
    figures = build(fields, {"max_set_aside": 1})
    sizes = {row["id"]: Image.open(io.BytesIO(row["image"]["bytes"])).size for row in rows_of(fields["output"])}
    assert sizes == {"own": (32, 128), "recipe": (80, 48), "size": (64, 96)}
    assert figures["set_aside"] == 1
    reason = "shape: 'wide' is not an aspect ratio: give width:height, such as 3:2 or 9:16, from 1:4 to 4:1"
    assert reason in Path(fields["output"], "set_aside.jsonl").read_text()


@pytest.mark.slow
def test_references_go_to_the_model_and_into_the_dataset(build, given, tmp_path, cluster):
    model = save_tiny("Flux2KleinPipeline", tmp_path / "models")
    edit = {"model": str(model), "instructions": ["put it on"], "steps": 2, "references": True}
    given |= {"edit": edit}
    for number in range(3):
        noise(64 + 16 * number, 64).save(tmp_path / f"{number}.png")
    rows = [("none", ["0.png"]), ("one", ["0.png", "1.png"]), ("two", ["0.png", "1.png", "2.png"])]
    write_prompts(Path(given["prompts"]), [{"id": id_, "images": names} for id_, names in rows])
    assert build(given)["generated"] == 3
    images = {}
    for row, (id_, names) in zip(rows_of(given["output"]), rows, strict=True):
        contents = [(tmp_path / name).read_bytes() for name in names[1:]]
        assert (row["id"], [image["bytes"] for image in row["input_images"]]) == (id_, contents)
        images[id_] = decode_image(row["edited_image"]["bytes"], id_)
    assert {image.size for image in images.values()} == {(64, 64)}
    assert len({image.tobytes() for image in images.values()}) == 3
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(given["output"], regenerate=3)["bit_equal"] == 3
    # Only the image of the changed reference is regenerated.
    noise(80, 80).save(tmp_path / "2.png")
    assert build(given)["generated"] == 1
    opened = load_dataset("parquet", data_files=str(tmp_path / "out/data/*.parquet"), split="train", streaming=True)
    assert [len(row["input_images"]) for row in opened] == [0, 1, 2]
    for form in ("imagefolder", "files", "dataflow"):
        export(given["output"], tmp_path / form, form)
        assert len(list((tmp_path / form).rglob("*reference*"))) == 3


@pytest.mark.slow
def test_references_are_stitched_to_the_image_for_a_model_that_takes_one(build, given, tmp_path, cluster):
    given["edit"] |= {"references": True, "references_layout": "stitch", "instructions": ["put it on"]}
    noise(64, 64).save(tmp_path / "0.png")
    noise(32, 48).save(tmp_path / "1.png")
    rows = [{"id": "one", "images": ["0.png", "1.png"]}, {"id": "none", "images": ["0.png"], "seed": 7}]
    write_prompts(Path(given["prompts"]), [{"seed": 7, **row} for row in rows])
    assert build(given)["generated"] == 2
    one, none = rows_of(given["output"])
    assert [image["bytes"] for image in one["input_images"]] == [(tmp_path / "1.png").read_bytes()]
    # As large as the edited image, and changed by its reference.
    assert (one["width"], one["height"]) == (64, 64)
    assert one["sha256"] != none["sha256"]
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(given["output"], regenerate=2)["bit_equal"] == 2


def test_references_for_a_model_that_takes_one_image_are_one_clear_message(given):
    recipe = load_recipe({**given, "edit": {**given["edit"], "references": True}})
    with pytest.raises(RecipeError, match=r"recipe.edit.references is true, but '.*' takes no further image") as error:
        resolve_models(recipe)
    assert "It takes them with references_layout: stitch." in str(error.value)
    klein = {"model": "flux.2-klein-4b", "revision": "0" * 40, "references": True, "references_layout": "stitch"}
    with pytest.raises(RecipeError, match=r"no further image side by side .* references_layout: separate"):
        resolve_models(load_recipe({**given, "edit": klein}))
    with pytest.raises(RecipeError, match="references_layout is 'stitch', but references is false"):
        load_recipe({**given, "edit": {"references_layout": "stitch"}})
    with pytest.raises(RecipeError, match="only the first edit of given images has them"):
        load_recipe({**given, "generate": {}, "edit": {"references": True}})


@pytest.mark.parametrize(
    ("generate", "message"),
    [
        (
            {"aspect_ratio": "wide"},
            "recipe.generate.aspect_ratio: 'wide' is not an aspect ratio: give width:height, such as 3:2",
        ),
        ({"aspect_ratio": "9:1"}, "recipe.generate.aspect_ratio: '9:1' is not an aspect ratio"),
        ({"aspect_ratio": "3:2", "width": 64}, "recipe.generate: aspect_ratio is given and width or height too"),
    ],
)
def test_an_invalid_shape_is_one_clear_message(generate, message):
    with pytest.raises(RecipeError) as error:
        load_recipe({"prompts": "p.jsonl", "generate": generate})
    assert str(error.value).startswith(message)


def test_a_shape_needs_no_quotes_in_yaml():
    generate = yaml.safe_load("{aspect_ratio: 16:9}")
    assert load_recipe({"prompts": "p.jsonl", "generate": generate}).generate.aspect_ratio == "16:9"
