"""The perceptual hash is the one of the field, and the same for what looks the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagemill.data.images.phash import phash


def scene(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Some coloured shapes."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (192, 128), tuple(random.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = random.integers(0, 150), random.integers(0, 100)
        box = (left, top, left + random.integers(10, 90), top + random.integers(10, 70))
        draw.ellipse([int(value) for value in box], fill=tuple(random.integers(0, 256, 3).tolist()))
    return image.resize(size)


def differing(first: Image.Image, second: Image.Image) -> int:
    return (phash(first) ^ phash(second)).bit_count()


@pytest.mark.parametrize("seed", range(20))
def test_the_hash_is_the_one_of_a_transform_in_floating_point(seed: int) -> None:
    image = scene(seed)
    pixels = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    step = np.arange(32)
    cosines = np.array([[np.cos(np.pi * k * (2 * i + 1) / 64) for i in step] for k in step])
    frequencies = (cosines @ pixels @ cosines.T)[:8, :8]
    bits = (frequencies > np.median(frequencies)).ravel()
    expected = int("".join("01"[int(bit)] for bit in bits), 2)
    # The two in the middle may fall on either side of the median.
    assert (phash(image) ^ expected).bit_count() <= 2


@pytest.mark.parametrize("seed", range(5))
def test_an_image_saved_as_jpeg_or_scaled_has_nearly_the_same_hash(seed: int) -> None:
    image, buffer = scene(seed), io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    assert differing(image, Image.open(buffer)) <= 4
    assert differing(image, scene(seed, (192, 128))) <= 4


def test_different_images_differ_in_about_half_of_the_bits() -> None:
    hashes = [phash(scene(seed)) for seed in range(20)]
    counts = [(a ^ b).bit_count() for a in hashes for b in hashes if a < b]
    assert 20 < np.mean(counts) < 40


def test_images_of_one_colour_have_one_hash_whatever_their_size() -> None:
    colours = [(255, 255, 255), (200, 30, 90), (1, 1, 1)]
    assert len({phash(Image.new("RGB", size, c)) for size in [(8, 8), (64, 32), (500, 300)] for c in colours}) == 1


def test_the_smallest_image_has_a_hash() -> None:
    assert 0 <= phash(Image.new("RGB", (1, 1), "red")) < 2**64
