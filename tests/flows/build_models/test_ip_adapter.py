"""A row's image prompt conditions its image, is stored beside it, and regenerates only that row when it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.commands import Report
from tests.conftest import Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of
from tests.models.ip_adapters import save_ip_adapter
from tests.models.tiny import save_tiny


@pytest.mark.slow
def test_a_changed_image_prompt_regenerates_only_its_row(build: Build, report: Report, cluster: str, tmp_path: Path):
    model = save_tiny("StableDiffusionPipeline", tmp_path)
    adapter = save_ip_adapter(model, tmp_path / "adapter")
    for name, image in (("slope", Image.linear_gradient("L")), ("ring", Image.radial_gradient("L"))):
        image.resize((50, 40)).save(tmp_path / f"{name}.png")
    rows = [{"id": name, "prompt": "a fox", "look": f"{name}.png"} for name in ("slope", "ring")]
    write_prompts(tmp_path / "prompts.jsonl", [*rows, {"id": "none", "prompt": "a fox"}])
    ip_adapter = {"model": str(adapter), "subfolder": "models", "weight_name": "adapter.safetensors"}
    fields = {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "columns": {"image_prompt": "look"},
        "generate": {"model": str(model), "ip_adapter": ip_adapter, "width": 64, "height": 96, "steps": 2},
        "max_set_aside": 1.0,
    }
    first = build(fields)
    assert "no image prompt: the row has no 'look'" in (tmp_path / "out/set_aside.jsonl").read_text()
    for row in rows_of(tmp_path / "out"):
        assert row["image_prompt"]["bytes"] == (tmp_path / row["image_prompt"]["path"]).read_bytes()
    Image.effect_noise((64, 96), 90).save(tmp_path / "slope.png")
    changed = build(fields)
    weaker = build(fields, {"generate.ip_adapter.scale": 0.5})
    again = build(fields, {"generate.ip_adapter.scale": 0.5})
    assert [run["generated"] for run in (first, changed, weaker, again)] == [2, 1, 2, 0]
    code, verified = report("verify", str(tmp_path / "out"), "--regenerate", "2", "--cluster", cluster)
    assert (code, verified["regenerated"], verified["bit_equal"]) == (0, 2, 2)
