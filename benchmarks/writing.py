"""Throughput of the host's part of a build, with a model that costs nothing: python benchmarks/writing.py [--side 1024]

Builds images with a photograph's spectrum (benchmarks/encoding.py) in each image format, with a recipe's defaults: with
the checks, encoded and staged by the worker's threads, hashed and written to Parquet. One warm worker with all cores,
and a running Prefect server. The time includes converting a batch's pixels to bytes, which a GPU would do itself.
Prints the median images/s from the flow's start to its end, and the size of an image. Writes writing.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from beside_the_model import bench, build

FORMATS = ("jpeg", "webp", "png")


def main() -> None:
    """Measure each format; the formats take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in FORMATS}
    sizes: dict[str, float] = {}
    with bench("make_photographer", options.images) as ready:
        for turn in range(options.rounds + 1):
            for name in FORMATS:
                output = ready.folder / f"{name}-{turn}"
                section = {"width": options.side, "height": options.side}
                recipe = {"prompts": ready.prompts, "output": str(output), "generate": section, "image_format": name}
                figures = build(recipe, ready.cluster)
                sizes[name] = sum(path.stat().st_size for path in output.glob("data/*")) / options.images / 1024
                # The first round is not counted, since it loads the worker's imports.
                rates[name] += [options.images / figures["seconds"]] if turn else []
    print(f"{options.images} images of {options.side}x{options.side}, medians of {options.rounds}")
    print("format   images/s   KiB per image")
    figures = [{"format": name, "per_s": statistics.median(rates[name]), "kib": sizes[name]} for name in FORMATS]
    for figure in figures:
        print("{format:6} {per_s:12.1f} {kib:15.0f}".format(**figure))
    Path("writing.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
