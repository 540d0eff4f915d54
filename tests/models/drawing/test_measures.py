"""A new measure is one file: the dataset has its column with no other change, and the flow's process loads no torch."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.config.api import Api as ApiSettings
from imagemill.data.config.load import load_recipe
from imagemill.data.config.steps import Edit
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.rows import dataset_row
from imagemill.data.dataset.schema import OWN_COLUMNS, DatasetSchema
from imagemill.data.images.codec import encode_image
from imagemill.data.records import Drawing, RowPlan
from imagemill.data.staging.store import Staging
from imagemill.models.api.client import Request
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.catalog.resolve import resolve
from imagemill.models.drawing import measures
from imagemill.models.drawing.api import draw_with_api
from imagemill.models.drawing.draw import draw
from imagemill.models.drawing.measure_registry import measures_of, registry
from imagemill.models.job import Job
from tests.models.jobs import PNG, make_job

BRIGHTNESS = '''"""Column ``brightness``: the mean of an image's values, 0 to 1."""

import numpy as np

from imagemill.data.config.chain import plain_steps
from imagemill.models.drawing.measure_registry import Measure

MEASURE = Measure(
    name="brightness",
    kind="float",
    settings=lambda recipe: dict.fromkeys(plain_steps(recipe), "mean"),
    of=lambda images, context: [float(np.mean(image)) / 255 for _, image in images],
    %s
)
'''
RECIPE = {"prompts": "prompts.txt", "prompt_truncated": True}


@pytest.fixture
def add_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Adds a file to the registry's folder."""

    def add(code: str) -> None:
        folder = tmp_path / "measures"
        folder.mkdir()
        (folder / "brightness.py").write_text(code)
        monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(folder)])
        registry.cache_clear()

    yield add
    monkeypatch.undo()
    registry.cache_clear()
    sys.modules.pop(f"{measures.__name__}.brightness", None)


def dataset_of(model: Path, folder: Path, recipe: dict[str, Any], edits: bool = False) -> pa.Table:
    """A dataset of one row, which is generated here and, with ``edits``, edited."""
    recipe = load_recipe({**RECIPE, **recipe})
    schema = DatasetSchema.of(recipe, {"brightness": "str"}, measures_of(recipe.model_dump(mode="json")))
    request = make_job(model, folder / "staged", ["a fox"], measures=schema.settings_of("generate"))
    draw(request, lambda event: None)
    steps, drawings, models = ["generate"], [*request.drawings], {"generate": request.spec.facts()}
    if edits:
        edit = Drawing(f"{9:032x}", "make it red", seed=9, steps=1, source=drawings[0].key)
        editor, settings = resolve("edit", Edit(model=str(model)), None), schema.settings_of("edit")
        changes = {"spec": editor, "drawings": (edit,), "encodings": {edit.key: (PNG,)}, "measures": settings}
        draw(replace(request, **changes), lambda event: None)
        steps, drawings, models = [*steps, "edit"], [*drawings, edit], {**models, "edit": models["generate"]}
    row = RowPlan("k", "id", 0, tuple(steps), tuple(drawings), "a fox", {"brightness": "dark"}, "prompts.txt", 1)
    write_rows(folder / "a.parquet", schema, [dataset_row(Staging(folder / "staged"), schema, row, models)])
    return pq.read_table(folder / "a.parquet")


def test_a_new_file_is_a_new_column(add_measure: Any, model: Path, tmp_path: Path):
    recipe = {"generate": {"model": str(model)}}
    before = DatasetSchema.of(load_recipe({**RECIPE, **recipe}), {}).digest()
    add_measure(BRIGHTNESS % "")
    table = dataset_of(model, tmp_path, recipe)
    assert table.schema.field("brightness").type == pa.float64()
    assert 0 < table["brightness"][0].as_py() <= 1
    assert table["prompt_truncated"].to_pylist() == [False]
    # The prompts file's column of that name is renamed.
    assert table["source_brightness"].to_pylist() == ["dark"]
    settings = measures_of(load_recipe({**RECIPE, **recipe}).model_dump(mode="json"))
    assert DatasetSchema.of(load_recipe({**RECIPE, **recipe}), {}, settings).digest() != before


def test_each_step_of_a_chain_has_its_value_or_the_row_one_for_both(add_measure: Any, model: Path, tmp_path: Path):
    chain = {"generate": {"model": str(model)}, "edit": {"model": str(model)}}
    add_measure(BRIGHTNESS % "")
    each = dataset_of(model, tmp_path, chain, edits=True)
    values = [each[name][0].as_py() for name in ("brightness", "edit_brightness")]
    assert values[0] != values[1]
    (tmp_path / "measures" / "brightness.py").write_text(BRIGHTNESS % "combine=max,")
    registry.cache_clear()
    del sys.modules[f"{measures.__name__}.brightness"]
    (tmp_path / "row").mkdir()
    row = dataset_of(model, tmp_path / "row", chain, edits=True)
    assert row["brightness"].to_pylist() == [max(values)]
    assert "edit_brightness" not in row.column_names


def test_an_image_that_was_staged_unmeasured_is_measured_and_not_generated_again(
    add_measure: Any, model: Path, tmp_path: Path
):
    request = make_job(model, tmp_path, ["a fox"])
    draw(request, lambda event: None)
    add_measure(BRIGHTNESS % 'fault=lambda value, setting: f"its {setting} is {value >= 0}",')
    report = draw(replace(request, measures={"brightness": "mean"}), lambda event: None)
    assert (report.generated, report.reused) == (0, 1)
    (key,) = report.failed
    assert report.failed[key].reason == "its mean is True"
    assert Staging(tmp_path).find(key, "png").measures["brightness"] > 0


def test_an_image_of_an_api_is_measured_too(add_measure: Any, tmp_path: Path):
    class Api:
        async def generate(self, request: Request) -> tuple[bytes, int]:
            return encode_image(Image.new("RGB", (64, 64), "white"), PNG, ""), 1

    add_measure(BRIGHTNESS % "")
    spec = ApiSpec("painter", None, ApiSettings(base_url="http://localhost"), False)
    drawing = Drawing("0" * 32, "a fox", seed=0, steps=None)
    settings = {"brightness": "mean", "prompt_truncated": True}
    request = Job(spec, (drawing,), {drawing.key: (PNG,)}, 1, frozenset(), str(tmp_path), measures=settings)
    assert asyncio.run(draw_with_api(request, Api(), lambda event: None)).generated == 1
    assert Staging(tmp_path).find(drawing.key, "png").measures == {"brightness": 1.0}


def test_a_measure_is_named_as_its_file_and_as_no_other_column():
    assert {name: measure.name for name, measure in registry().items()} == {name: name for name in registry()}
    earlier = {"unsafe", "prompt_truncated", "edit_prompt_truncated"}
    assert not (OWN_COLUMNS - earlier) & {prefix + name for name in registry() for prefix in ("", "edit_")}


def test_reading_the_registry_imports_no_torch():
    code = (
        "import sys; from imagemill.models.drawing.measure_registry import registry;"
        "import imagemill.models.drawing.measuring;"
        "assert registry(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
