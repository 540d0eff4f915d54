"""Dataset configuration of musubi-tuner (https://github.com/kohya-ss/musubi-tuner, docs/dataset_config.md)."""

from __future__ import annotations

import json

from imagemill.data.export.entry import Summary
from imagemill.data.export.trainers.groups import groups_of


def musubi_toml(summary: Summary) -> str:
    """musubi.toml: a dataset for each musubi.jsonl, which names the controls of each image."""
    width, height = summary.size
    lines = [
        "# For musubi-tuner: --dataset_config musubi.toml",
        "[general]",
        f"resolution = [{width}, {height}]",
        "batch_size = 1",
        f"enable_bucket = {'true' if len(summary.sizes) > 1 else 'false'}",
        "bucket_no_upscale = true",
    ]
    for group in groups_of(summary):
        lines += [
            "",
            "[[datasets]]",
            f"image_jsonl_file = {json.dumps(str(group.folder / 'musubi.jsonl'))}",
            f"cache_directory = {json.dumps(str(group.folder / 'musubi-cache'))}",
            "num_repeats = 1",
        ]
    return "\n".join(lines) + "\n"
