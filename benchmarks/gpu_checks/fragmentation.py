"""Images of many sizes: how much memory lies in gaps, with expandable segments and without?"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.gpu_checks.check import Answer, Setup, child, draw_images, needs_gpu, not_run, spec_of, yes_or_no

QUESTION = "With expandable segments less memory lies in gaps after images of 17 sizes?"
SIZES = [(1024, 1024)] + [
    size
    for long, short in (
        (1088, 960),
        (1152, 896),
        (1216, 832),
        (1280, 768),
        (1344, 768),
        (1408, 704),
        (1472, 704),
        (1536, 640),
    )
    for size in ((long, short), (short, long))
]


def run(setup: Setup) -> Iterator[Answer]:
    """Both in processes of their own: the setting is read once."""
    if answer := needs_gpu(setup, QUESTION):
        yield answer
        return
    found = {}
    for name, setting in (("plain", "expandable_segments:False"), ("expandable", "expandable_segments:True")):
        code, said = child(setup, "fragmentation", str(setup.models[0]), timeout=60, PYTORCH_ALLOC_CONF=setting)
        if code != 0:
            yield not_run(QUESTION, f"{setting} ended with {code}: {said}")
            return
        found |= {f"{name}_{key}": value for key, value in said.items()}
    yield yes_or_no(QUESTION, found["expandable_gaps_gib"] <= found["plain_gaps_gib"], **found)


def main() -> None:
    """Generate images of all sizes, and print what lies in gaps, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup((Path(sys.argv[1]),), Path(folder), "--tiny" in sys.argv)
        spec = spec_of(setup.models[0])
        for number, (width, height) in enumerate(SIZES):
            draw_images(setup, spec, 2, 1 + number % 2, steps=1, width=width, height=height)
    stats = torch.cuda.memory_stats()
    reserved, allocated = stats["reserved_bytes.all.current"], stats["allocated_bytes.all.current"]
    figures = {"gaps_gib": stats["inactive_split_bytes.all.current"], "unused_gib": reserved - allocated}
    print(json.dumps({name: round(value / 2**30, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
