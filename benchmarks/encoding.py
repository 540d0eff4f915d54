"""Time and size of an encoded image: python benchmarks/encoding.py [SIDE ...]

Images with the spectrum of photographs (1/f noise in three correlated channels, so neither flat nor white noise) at
64, 512 and 1024 pixels a side by default; the recipe's formats as imagemill writes them, and Pillow's PNG at each zlib
level, its JPEG, and its WebP at each method, all at the recipe's default quality. One thread, medians of five; and the
images/s of one thread per core, which do not scale if an encoder holds the interpreter lock. Prints one table per side
and writes encoding.json.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemill.data.images.codec import Encoding, encode_image

SIDES = (64, 512, 1024)
ROUNDS = 5
QUALITY = 95
ALL_THREADS_S = 2.0
"""Seconds for which all threads encode."""

Encode = Callable[[Image.Image], bytes]


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


def encodings() -> Iterator[tuple[str, Encode]]:
    """Name of each encoding, and its encoder: imagemill's, which have a star, then Pillow's."""
    for encoding in (Encoding("png"), Encoding("jpeg", QUALITY), Encoding("webp", QUALITY)):
        yield f"* {encoding.image_format}", partial(encode_image, encoding=encoding, parameters="")
    for level in range(10):
        yield f"  png, level {level}", partial(_by_pillow, format="PNG", compress_level=level)
    yield "  jpeg", partial(_by_pillow, format="JPEG", quality=QUALITY, subsampling=0)
    for method in range(7):
        yield f"  webp, method {method}", partial(_by_pillow, format="WEBP", quality=QUALITY, method=method)


def _by_pillow(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def measure(images: list[Image.Image], encode: Encode) -> tuple[float, int]:
    """Median seconds per image, and mean bytes."""
    seconds, sizes = [], []
    for image in images:
        started = time.perf_counter()
        content = encode(image)
        seconds.append(time.perf_counter() - started)
        sizes.append(len(content))
    return statistics.median(seconds), round(statistics.mean(sizes))


def together(images: list[Image.Image], encode: Encode, seconds: float) -> float:
    """Images/s of one thread per core; ``seconds`` is the time of one image on one thread."""
    threads = os.cpu_count() or 1
    count = max(2 * threads, round(threads * ALL_THREADS_S / seconds))
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in pool.map(lambda number: encode(images[number % ROUNDS]), range(count)):
            pass
        return count / (time.perf_counter() - started)


def main() -> None:
    """Measure each side."""
    figures = []
    for side in [int(word) for word in sys.argv[1:]] or SIDES:
        images = [photograph(side, seed) for seed in range(ROUNDS)]
        heading = f"ms per image   images/s, {os.cpu_count()} threads   KiB   (* is used by imagemill)"
        print(f"\n{side} x {side}        {heading}")
        for name, encode in encodings():
            seconds, size = measure(images, encode)
            rate = round(together(images, encode, seconds), 1)
            figures.append(
                {"side": side, "encoding": name.strip(), "ms": round(1000 * seconds, 2), "per_s": rate, "bytes": size}
            )
            print(f"{name:18} {1000 * seconds:12.2f} {rate:21.1f} {size / 1024:7.0f}", flush=True)
    Path("encoding.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
