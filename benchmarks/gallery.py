"""Benchmark of the gallery: a dataset of 1,000,000 rows with stand-in images, its first page, searches and memory.

python benchmarks/gallery.py /data/million [--rows 1000000]    # makes the dataset if it is not there: 2 GB, minutes
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from imagemill.data.view.gallery import Gallery
from imagemill.data.view.query import Query
from tests.data.view.datasets import image_row, shape, write_manifest, write_part

FILE_ROWS = 100_000


def make(output: Path, rows: int) -> None:
    """Write the dataset."""
    images = [shape(hue, 64) for hue in range(0, 360, 3)]

    def of_file(first: int) -> Iterator[dict[str, Any]]:
        for number in range(first, min(first + FILE_ROWS, rows)):
            row = image_row(number, images[number % 120], f"a {number % 977} fox, number {number}, seen from above")
            row |= {"style": f"style {number % 7}", "candidate": 0}
            yield row | {"score_fits": number % 9973 / 9973, "score_looks": number % 101 / 10}

    firsts = range(0, rows, FILE_ROWS)
    files = [write_part(output, "data", number, of_file(first)) for number, first in enumerate(firsts)]
    write_manifest(output, files)


def measure(what: str, action: Callable[[], Any]) -> Any:
    """Print how long an action takes, and the memory of the process after it."""
    start = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - start
    gc.collect()
    print(f"{what:<60} {seconds:8.3f} s   {psutil.Process().memory_info().rss / 2**20:7.0f} MiB")
    return result


def main() -> None:
    """Make the dataset if necessary, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    if "://" not in given.output and not Path(given.output).exists():
        make(Path(given.output), given.rows)
    measure("the start", lambda: None)
    gallery = measure("open", lambda: Gallery(given.output))
    page = measure("the first page of 60 rows", lambda: gallery.page(Query(), 0, 60))
    images = [(row.images[0], row.key) for row in page.rows]

    def read_images() -> None:
        for image, key in images:
            gallery.image(image.part.area, image.part.name, image.row, image.column, None, key)

    measure("its 60 images", read_images)
    measure("a page in the middle", lambda: gallery.page(Query(), 654_321, 60))
    measure("a row's candidates, with keys and ids of all rows", lambda: gallery.related("row-654321", 100))
    measure("another's", lambda: gallery.related("row-54321", 100))
    measure("a row by its key", lambda: gallery.row(page.rows[7].key))
    for where in ("score_fits >= 0.99", "prompt like '%number 1234%'", "style = 'style 3' and width >= 64"):
        measure(f"filter: {where}", lambda where=where: gallery.page(Query(where=where), 0, 60))
    measure("words: fox 1234", lambda: gallery.page(Query(words="fox 1234"), 0, 60))
    measure("sorted by a score", lambda: gallery.page(Query(sort="score_fits"), 0, 60))
    images = [(row.images[0], row.key) for row in gallery.page(Query(sort="score_looks", order="asc"), 0, 60).rows]
    measure("60 images of a sorted page", read_images)
    measure("a histogram", lambda: gallery.histogram("score_fits", Query()))
    measure("the same again", lambda: gallery.histogram("score_fits", Query()))
    print(f"{gallery.index_bytes / 2**20:.0f} MiB of arrays, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
