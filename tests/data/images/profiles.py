"""ICC profiles for tests, built by hand: Pillow can create none but sRGB, XYZ and Lab."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)

SRGB = ((0.4361, 0.3851, 0.1431), (0.2225, 0.7169, 0.0606), (0.0139, 0.0971, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2919, 0.1572), (0.2412, 0.6922, 0.0666), (-0.0011, 0.0419, 0.7841))
ADOBE_RGB = ((0.6097, 0.2053, 0.1492), (0.3111, 0.6257, 0.0632), (0.0195, 0.0609, 0.7446))
"""XYZ of red, green and blue in columns, adapted to D50."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float | tuple[float, ...]) -> bytes:
    """A power, or the five parameters of a curve with a linear start."""
    if isinstance(gamma, tuple):
        return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(*gamma)
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(space: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = "made for tests".encode("utf-16-be")
    words = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    tags = {b"desc": words, b"cprt": words, b"wtpt": b"XYZ " + bytes(4) + _fixed(*D50), **tags}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x04300000, kind, space, pcs)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb_profile(colorants: tuple[tuple[float, ...], ...], gamma: float | tuple[float, ...] = SRGB_CURVE) -> bytes:
    """A display's profile: three primaries and one curve."""
    tags = {}
    for name, column in zip(b"rgb", zip(*colorants, strict=True), strict=True):
        tags[b"%cXYZ" % name] = b"XYZ " + bytes(4) + _fixed(*column)
        tags[b"%cTRC" % name] = _curve(gamma)
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


def grey_profile(gamma: float) -> bytes:
    """A profile of greys with this power."""
    return _profile(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": _curve(gamma)})


def cmyk_profile(dullness: float) -> bytes:
    """A printer's profile: a table of Lab at the 16 corners of the inks; its inks are duller than pure colours."""
    corners = []
    for inks in np.ndindex(2, 2, 2, 2):
        cyan, magenta, yellow, black = inks
        light = 100 * (1 - 0.3 * cyan) * (1 - 0.5 * magenta) * (1 - 0.1 * yellow) * (1 - 0.9 * black)
        a = (70 * magenta - 40 * cyan) * (1 - dullness) * (1 - black)
        b = (80 * yellow - 45 * cyan - 10 * magenta) * (1 - dullness) * (1 - black)
        corners += [round(light * 2.55), round(a + 128), round(b + 128)]
    straight = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut += 4 * straight + bytes(corners) + 3 * straight
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"A2B0": lut})
