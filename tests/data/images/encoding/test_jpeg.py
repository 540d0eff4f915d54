"""JPEG files have the bytes that Pillow writes with the same settings, metadata included."""

import io

import numpy as np
import pytest
from PIL import Image

from imagemill.data.images.encoding.exif import exif_of
from imagemill.data.images.encoding.jpeg import MAX_SEGMENT_BYTES, XMP_NAME, encode_jpeg


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (333, 129)])
@pytest.mark.parametrize("quality", [1, 75, 95, 100])
def test_a_file_has_the_bytes_of_pillows(size, quality):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image, exif, xmp, buffer = Image.fromarray(pixels), exif_of("ein Fuchs, größer"), b"<x/>", io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0, exif=exif, xmp=xmp)
    assert encode_jpeg(image, quality, exif, xmp) == buffer.getvalue()


def test_metadata_that_does_not_fit_is_refused():
    image, most = Image.new("RGB", (8, 8)), MAX_SEGMENT_BYTES - len(XMP_NAME)
    assert Image.open(io.BytesIO(encode_jpeg(image, 95, b"Exif\0\0", bytes(most)))).size == (8, 8)
    with pytest.raises(ValueError, match="a JPEG's segment takes 65533 bytes, and this has 65534"):
        encode_jpeg(image, 95, b"Exif\0\0", bytes(most + 1))
