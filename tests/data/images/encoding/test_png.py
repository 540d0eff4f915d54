"""PNG files of our own writer hold the same pixels and texts as Pillow's, in files that any reader takes."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from imagemill.data.images.codec import Encoding, encode_image
from imagemill.data.images.encoding.png import STRIPE_BYTES, filter_rows

SIZES = [(1, 1), (1, 9), (9, 1), (64, 64), (333, 129), (STRIPE_BYTES // 3 + 1, 3), (3, 5000)]
ROWS = {
    "none": lambda x, y: np.where((x + 7 * y) % 5 == 0, 1, 0),
    "sub": lambda x, y: 13 * x + 101 * y * y,
    "up": lambda x, y: 31 * x * x + y,
    "average": lambda x, y: 60 * np.sin(x / 3 + 0.3) + 60 * np.sin(y / 3) + 120 + 9 * ((x * 7 + y * 13) % 3),
}


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def read(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as file:
        file.verify()
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parameters", ["a fox\nSteps: 4", "ein Fuchs, größer", ""])
def test_a_file_has_the_pixels_and_the_texts_of_pillows(size, parameters):
    image = noise(*size)
    ours = read(encode_image(image, Encoding("png"), parameters, "<x>ü</x>"))
    pillows = read(encode_image(image, Encoding("png", version=2), parameters, "<x>ü</x>"))
    assert (ours.mode, ours.tobytes()) == ("RGB", image.tobytes())
    assert ours.info == pillows.info


def test_every_filter_is_used_where_it_leaves_the_least():
    x, y = np.meshgrid(np.arange(200), np.arange(60))
    used = set()
    for function in ROWS.values():
        plane = np.asarray(function(x, y)).astype(np.int64).astype(np.uint8)
        pixels = np.stack([plane, plane, plane], axis=-1)
        used |= set(filter_rows(pixels)[:, 0].tolist())
        image = Image.fromarray(pixels)
        assert read(encode_image(image, Encoding("png"), "p")).tobytes() == image.tobytes()
    assert used == {0, 1, 2, 3}


def test_the_pixels_are_one_zlib_stream_of_whole_rows():
    content = encode_image(noise(10, 4), Encoding("png"), "p")
    start = content.index(b"IDAT") + 4
    size = int.from_bytes(content[start - 8 : start - 4], "big")
    assert len(zlib.decompress(content[start : start + size])) == 4 * (1 + 3 * 10)
