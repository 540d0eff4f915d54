"""Images that are sent to a language model: small, and nothing but pixels."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, PngImagePlugin

from imagemill.models.api.data_urls import MAX_SIDE, data_url, encode


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_an_image_is_sent_at_most_1024_pixels_a_side_with_its_proportions() -> None:
    for width, height in ((2048, 1024), (1024, 3000), (5000, 3)):
        sent = Image.open(io.BytesIO(encode(noise(width, height))))
        assert max(sent.size) == MAX_SIDE
        assert sent.format == ("PNG" if sent.width * sent.height < 300_000 else "JPEG")
    assert Image.open(io.BytesIO(encode(noise(2048, 1024)))).size == (1024, 512)


def test_a_small_image_is_sent_pixel_by_pixel() -> None:
    image = noise(64, 48)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(image)))), np.asarray(image))


def test_equal_pixels_give_equal_bytes_and_no_word_of_the_file_is_sent() -> None:
    image, chunks = noise(64, 64), PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a secret prompt")
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=chunks, icc_profile=b"profile")
    again = Image.open(file)
    assert encode(again) == encode(image)
    assert b"secret" not in encode(again)
    large, exif = noise(1000, 1000), Image.Exif()
    exif[0x010E] = "a secret place"
    photo = io.BytesIO()
    large.save(photo, "PNG", exif=exif)
    assert encode(Image.open(photo)) == encode(large)


def test_a_data_url_names_its_kind() -> None:
    assert data_url(encode(noise(8, 8))).startswith("data:image/png;base64,")
    content = encode(noise(1000, 1000))
    url = data_url(content)
    assert url.startswith("data:image/jpeg;base64,")
    assert base64.b64decode(url.partition(",")[2]) == content
