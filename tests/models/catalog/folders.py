"""Model folders that are complete as far as resolving goes: an index and a few bytes of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(folder: Path, kind: str = "FluxPipeline", dtype: Any = np.float16) -> Path:
    """Write a folder that looks like a saved pipeline, and return it."""
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind, "_diffusers_version": "0.42.1"}))
    (folder / "README.md").write_text("a model")
    save_file({"w": np.arange(8).astype(dtype)}, folder / "transformer" / "weights.safetensors")
    return folder
