"""A LoRA in a recipe regenerates exactly the images that it changes."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Build
from tests.models.adapters import save_lora


def test_a_lora_regenerates_exactly_the_affected_images(build: Build, fields: dict, model: Path, tmp_path: Path):
    lora = str(save_lora(model, tmp_path / "style.safetensors"))
    plain = build(fields)
    styled = build(fields, {"edit.lora": lora})
    weaker = build(fields, {"edit.lora": [{"source": lora, "weight": 0.5}]})
    again = build(fields, {"edit.lora": [{"source": lora, "weight": 0.5}]})
    without = build(fields)
    assert [run["generated"] for run in (plain, styled, weaker, again, without)] == [8, 4, 4, 0, 4]
    assert len({run["fingerprint"] for run in (plain, styled, weaker)}) == 3
    assert (again["fingerprint"], without["fingerprint"]) == (weaker["fingerprint"], plain["fingerprint"])
