"""Dataloader configuration of SimpleTuner (https://github.com/bghira/SimpleTuner, documentation/DATALOADER.md)."""

from __future__ import annotations

import json
from math import isqrt
from pathlib import Path
from typing import Any

from imagemill.data.export.entry import Summary
from imagemill.data.export.names import plain_name
from imagemill.data.export.trainers.groups import groups_of


def multidatabackend_json(summary: Summary) -> str:
    """multidatabackend.json: a dataset for each folder, linked to the folders of its controls."""
    root, resolution = summary.choices.target, isqrt(summary.size[0] * summary.size[1])

    def dataset(folder: Path, **fields: Any) -> dict[str, Any]:
        place = "-".join(folder.relative_to(root).parts)
        return {
            "id": f"{plain_name(summary.dataset)}-{place}",
            "type": "local",
            "instance_data_dir": str(folder),
            "resolution": resolution,
            "resolution_type": "pixel_area",
            "minimum_image_size": 0,
            "cache_dir_vae": str(root / "simpletuner-cache" / place),
            **fields,
        }

    backends: list[dict[str, Any]] = []
    for group in groups_of(summary):
        target = dataset(group.target, caption_strategy="textfile")
        strict = {"dataset_type": "conditioning", "conditioning_type": "reference_strict", "caption_strategy": None}
        controls = [dataset(control, **strict, source_dataset_id=target["id"]) for control in group.controls]
        if controls:
            target["conditioning_data"] = [control["id"] for control in controls]
        backends += [target, *controls]
    texts = {"id": "texts", "type": "local", "dataset_type": "text_embeds", "default": True}
    backends.append({**texts, "cache_dir": str(root / "simpletuner-cache" / "texts")})
    return json.dumps(backends, indent=2, ensure_ascii=False) + "\n"
