"""Time and size of an encoded image: python benchmarks/encoding.py [SIDE ...]

Images with the spectrum of photographs (1/f noise in three correlated channels, so neither flat nor white noise) at
64, 512 and 1024 pixels a side by default; PNG at each zlib level, JPEG, and WebP at each method, at the recipe's
default quality. One thread, medians of five; and the images/s of one thread per core, which do not scale if Pillow
holds the interpreter lock. Prints one table per side and writes encoding.json.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemill.data.images.codec import PNG_LEVEL, WEBP_METHOD

SIDES = (64, 512, 1024)
ROUNDS = 5
QUALITY = 95
ALL_THREADS_S = 2.0
"""Seconds for which all threads encode."""
SHIPPED = {f"png, level {PNG_LEVEL}", f"webp, method {WEBP_METHOD}", "jpeg"}


def photograph(side: int, seed: int) -> Image.Image:
    """An image with a photograph's spectrum: amplitude falls with frequency as 1/f (Field, JOSA A 4, 1987)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1
    planes = []
    for _ in range(3):
        spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / frequency
        plane = np.fft.irfft2(spectrum, (side, side))
        planes.append((plane - plane.mean()) / plane.std())
    luma, red, blue = planes
    colours = np.stack([luma + 0.3 * red, luma - 0.1 * red - 0.1 * blue, luma + 0.3 * blue], axis=-1)
    return Image.fromarray(np.clip(128 + 45 * colours, 0, 255).astype(np.uint8))


def encodings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of each encoding, and Pillow's options for it."""
    for level in range(10):
        yield f"png, level {level}", {"format": "PNG", "compress_level": level}
    yield "jpeg", {"format": "JPEG", "quality": QUALITY, "subsampling": 0}
    for method in range(7):
        yield f"webp, method {method}", {"format": "WEBP", "quality": QUALITY, "method": method}


def measure(images: list[Image.Image], options: dict[str, Any]) -> tuple[float, int]:
    """Median seconds per image, and mean bytes."""
    seconds, sizes = [], []
    for image in images:
        buffer = io.BytesIO()
        started = time.perf_counter()
        image.save(buffer, **options)
        seconds.append(time.perf_counter() - started)
        sizes.append(buffer.tell())
    return statistics.median(seconds), round(statistics.mean(sizes))


def together(images: list[Image.Image], options: dict[str, Any], seconds: float) -> float:
    """Images/s of one thread per core; ``seconds`` is the time of one image on one thread."""
    threads = os.cpu_count() or 1
    count = max(2 * threads, round(threads * ALL_THREADS_S / seconds))
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda number: images[number % ROUNDS].save(io.BytesIO(), **options), range(count)):
            pass
        return count / (time.perf_counter() - started)


def main() -> None:
    """Measure each side."""
    figures = []
    for side in [int(word) for word in sys.argv[1:]] or SIDES:
        images = [photograph(side, seed) for seed in range(ROUNDS)]
        heading = f"ms per image   images/s, {os.cpu_count()} threads   KiB   (* is used by imagemill)"
        print(f"\n{side} x {side}        {heading}")
        for name, options in encodings():
            seconds, size = measure(images, options)
            rate = round(together(images, options, seconds), 1)
            figures.append(
                {"side": side, "encoding": name, "ms": round(1000 * seconds, 2), "per_s": rate, "bytes": size}
            )
            star = "*" if name in SHIPPED else " "
            print(f"{star} {name:16} {1000 * seconds:12.2f} {rate:21.1f} {size / 1024:7.0f}", flush=True)
    Path("encoding.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
