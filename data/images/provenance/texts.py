"""Provenance texts that are written into an image's file, in each encoding version."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from imagemill.data.images.opening import open_image
from imagemill.data.images.provenance import a1111, iptc, version_1
from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.records import Drawing

MAX_XMP_BYTES = 65_502
"""Of a packet in a JPEG, which is one segment of the file."""


class Provenance(NamedTuple):
    """Texts of an image's file about its generation."""

    parameters: str
    """In AUTOMATIC1111's format; in a PNG the text chunk ``parameters``, otherwise the EXIF user comment."""
    xmp: str
    """An XMP packet."""


def provenance(drawing: Drawing, size: tuple[int, int], model: str, details: ModelDetails, version: int) -> Provenance:
    """The texts of a drawing. ``size``: width, height in pixels; ``version``: data.images.codec.ENCODING_VERSION."""
    if version == 1:
        return Provenance(version_1.generation_parameters(drawing, size, model), version_1.XMP)
    return Provenance(
        a1111.generation_parameters(drawing, size, model, details), iptc.xmp_packet(drawing, model, details)
    )


def read_provenance(content: bytes, name: str) -> Provenance:
    """The texts in a PNG of a build, for the same image in another format. Raises BadRow.

    Of a PNG that is not from a build, the parameters are empty, and the packet only that a model has generated it.
    """
    image: Image.Image = open_image(io.BytesIO(content), name)
    parameters, xmp = (image.info.get(key) for key in ("parameters", "XML:com.adobe.xmp"))
    if not isinstance(xmp, str) or len(xmp.encode()) > MAX_XMP_BYTES:
        xmp = version_1.XMP
    return Provenance(parameters if isinstance(parameters, str) else "", xmp)
