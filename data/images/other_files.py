"""Recognition of files that are named as images and are something else, so that a refusal can say what they are."""

from __future__ import annotations

_STARTS = {
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"8BPS": "a Photoshop file",
    b"\0\0\x01\0": "an icon (ICO)",
    b"v/1\x01": "an OpenEXR image",
    b"#?RADIANCE": "a Radiance HDR image",
    b"DDS ": "a DDS texture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "compressed with gzip",
    b"version https://git-lfs": "a Git LFS pointer, whose image `git lfs pull` downloads",
    **{b"P%d" % number: "a Netpbm image" for number in range(1, 8)},
}
"""First bytes -> what the file is."""

_TEXTS = {b"<svg": "an SVG drawing", b"<!doctype html": "a web page", b"<html": "a web page"}


def kind_of_other_file(head: bytes) -> str | None:
    """Kind of the file with these first bytes; None if it is unknown, or may be an image that is read."""
    for start, kind in _STARTS.items():
        if head.startswith(start) and (kind != "a Netpbm image" or head[2:3].isspace()):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return next((kind for tag, kind in _TEXTS.items() if tag in text), None)
    if head[4:8] == b"ftyp" and head[8:12] in (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V "):
        return "a video"
    return None
