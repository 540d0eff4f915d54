"""Decoder of images that are texts in a row: data: URIs, and base64 alone. No location is named or read by either."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from imagemill.data.errors import BadRow
from imagemill.data.messages import shown
from imagemill.data.prompts.image_download import MAX_BYTES

MIN_BASE64 = 64
"""Characters of the shortest text that is taken for an image in base64, and not for a name."""

_MAX_TEXT = MAX_BYTES * 4 // 3 + 1000

# The first bytes of PNG, JPEG, GIF, RIFF (WebP), BMP, both kinds of TIFF, and AVIF or HEIC.
_START = re.compile(r"iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk.{6}AAAA|SUkqA|TU0AK|AAAA..Z0eX")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_DATA = re.compile(r"data:(?P<type>[^,;]{0,100})(?P<options>(;[^,;]{0,100}){0,5}),", re.IGNORECASE)


def is_embedded(text: str) -> bool:
    """True if a text is an image itself, and not the name of one."""
    start = text[:1000].lstrip()
    if start[:5].lower() == "data:" and "://" not in start[:10]:
        return True
    return len(text) >= MIN_BASE64 and _START.match(start) is not None and _BASE64.fullmatch(text) is not None


def decode_embedded(text: str, column: str) -> bytes:
    """The bytes of an image that `is_embedded`. Raises BadRow, which does not repeat them."""
    text = text.strip()
    if len(text) > _MAX_TEXT:
        raise BadRow(f"the image in {shown(column)} is larger than {MAX_BYTES // 2**20} MiB")
    if text[:5].lower() != "data:":
        return _from_base64(text, column)
    match = _DATA.match(text)
    if match is None:
        raise BadRow(f"the data: URI in {shown(column)} has no comma before its content")
    content = text[match.end() :]
    is_base64 = ";base64" in match["options"].lower()
    return _from_base64(content, column) if is_base64 else unquote_to_bytes(content)


def _from_base64(text: str, column: str) -> bytes:
    # A URI may have escapes, and a line end after every 76 characters.
    plain = "".join((text.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")).split()).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise BadRow(f"the image in {shown(column)} is not base64: {error}") from error
