"""A LoRA in a recipe regenerates exactly the images that it changes, and the build says how much of it fits."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from safetensors.torch import load_file

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


def test_how_much_of_a_lora_fits_is_logged_once_and_recorded(
    build: Build, fields: dict, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    lora = save_lora(model, tmp_path / "style.safetensors", seed=23)  # That no worker has loaded yet.
    tensors = len(load_file(lora))
    with caplog.at_level(logging.INFO):
        run = build(fields, {"edit.lora": str(lora)})
    recorded = [load["loras"] for load in run["loads"] if "loras" in load]
    assert recorded
    assert all(loras == [{"lora": lora.name, "used": tensors, "tensors": tensors}] for loras in recorded)
    said = [record.getMessage() for record in caplog.records if "tensors of the LoRA" in record.getMessage()]
    manifest, card = (Path(fields["output"], name) for name in ("manifest.json", "README.md"))
    listed = [{"model": model.name, "lora": lora.name, "used": tensors, "tensors": tensors}]
    assert json.loads(manifest.read_bytes())["loras"] == listed
    assert f"- LoRA `style.safetensors`: {tensors} of its {tensors} tensors fit `{model.name}`\n" in card.read_text()
    # A build that generates nothing loads none, and one without the LoRA has none to list.
    assert build(fields, {"edit.lora": str(lora)})["generated"] == 0
    assert json.loads(manifest.read_bytes())["loras"] == listed
    build(fields)
    assert "loras" not in json.loads(manifest.read_bytes())
    assert "LoRA" not in card.read_text()
    assert said == [f"{tensors} of {tensors} tensors of the LoRA 'style.safetensors' fit {model.name}."]
