"""Writer of JPEG files by libjpeg-turbo, which lets other threads run meanwhile; Pillow's does not.

The bytes are those of Pillow with the same settings: pixels first by libjpeg, then metadata behind the JFIF segment.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

MAX_SEGMENT_BYTES = 65_533
"""Longest content of a segment, whose length field counts itself."""

_START, _JFIF, _APP1 = b"\xff\xd8", b"\xff\xe0", b"\xff\xe1"
XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"


def encode_jpeg(image: Image.Image, quality: int, exif: bytes, xmp: bytes) -> bytes:
    """A JPEG file of an RGB image, with all of its colour resolution (4:4:4).

    ``exif``: begins with ``Exif`` and two zeros; ``xmp``: a packet. Raises ValueError where one does not fit.
    """
    import imagecodecs

    encoded = bytes(imagecodecs.jpeg8_encode(np.asarray(image), level=quality, subsampling="444"))
    assert encoded.startswith(_START + _JFIF), "libjpeg begins a file with JFIF"
    (length,) = struct.unpack_from(">H", encoded, 4)
    end = 4 + length
    return encoded[:end] + _segment(exif) + _segment(XMP_NAME + xmp) + encoded[end:]


def _segment(content: bytes) -> bytes:
    if len(content) > MAX_SEGMENT_BYTES:
        raise ValueError(f"a JPEG's segment takes {MAX_SEGMENT_BYTES} bytes, and this has {len(content)}")
    return _APP1 + struct.pack(">H", len(content) + 2) + content
