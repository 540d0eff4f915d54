"""Reader of HEIC images, an iPhone's own format: by pillow-heif, which imagemill installs on demand only."""

from __future__ import annotations

from functools import cache

from imagemill.data.errors import BadRow
from imagemill.data.messages import shown_path

_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
"""Brands of ISO 23008-12 for images that are coded as HEVC, or in a way that the compatible brands name."""

INSTALL = "pip install 'imagemill[heic]'"


def heif_format(head: bytes, name: str) -> tuple[str, ...]:
    """Pillow's name of the format if ``head`` starts a HEIC image. Raises BadRow if its reader is not installed."""
    if head[4:8] != b"ftyp" or head[8:12] not in _BRANDS:
        return ()
    length = int.from_bytes(head[:4], "big")
    compatible = {head[start : start + 4] for start in range(16, min(length, len(head)), 4)}
    # An AVIF may begin with the general brand; Pillow reads it itself.
    if head[8:12] in (b"mif1", b"msf1") and compatible & {b"avif", b"avis"}:
        return ()
    if not _register():
        raise BadRow(f"the image {shown_path(name)} is a HEIC image, which needs another package: {INSTALL}")
    return ("HEIF",)


@cache
def _register() -> bool:
    """Make Pillow read HEIC; False if pillow-heif is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
