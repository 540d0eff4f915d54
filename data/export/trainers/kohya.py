"""Dataset configuration of kohya's sd-scripts (https://github.com/kohya-ss/sd-scripts, docs/config_README-en.md)."""

from __future__ import annotations

import json

from imagemill.data.export.entry import Summary
from imagemill.data.export.trainers.groups import bucket_limits, groups_of


def kohya_toml(summary: Summary) -> str:
    """kohya.toml: a subset for each folder of training images; one with controls has conditioning_data_dir."""
    width, height = summary.size
    shortest, longest = bucket_limits(summary)
    lines = [
        "# For sd-scripts: --dataset_config kohya.toml",
        "[general]",
        'caption_extension = ".txt"',
        "",
        "[[datasets]]",
        f"resolution = [{width}, {height}]",
        "batch_size = 1",
        f"enable_bucket = {'true' if len(summary.sizes) > 1 else 'false'}",
        f"min_bucket_reso = {shortest}",
        f"max_bucket_reso = {longest}",
        "bucket_no_upscale = true",
    ]
    groups = groups_of(summary)
    # sd-scripts takes images with control images or without, not both.
    if any(group.controls for group in groups):
        plain = [group for group in groups if not group.controls]
        lines += [f"# left out, since it has no control images: {json.dumps(str(group.target))}" for group in plain]
        groups = [group for group in groups if group.controls]
    for group in groups:
        lines += ["", "  [[datasets.subsets]]", f"  image_dir = {json.dumps(str(group.target))}", "  num_repeats = 1"]
        if group.controls:
            lines.append(f"  conditioning_data_dir = {json.dumps(str(group.controls[0]))}")
        if group.mask:
            lines.append(f"  # with --masked_loss: conditioning_data_dir = {json.dumps(str(group.mask))}")
    return "\n".join(lines) + "\n"
