"""Fonts of the contact sheet: a bundled one for most of the world's prompts, the machine's for what it lacks.

``font.ttf`` is a subset of Noto fonts (OFL.txt): Latin, Greek, Cyrillic, Hebrew, Arabic, Thai, Devanagari, and the
common characters of Chinese, Japanese and Korean. tests/data/dataset/sheet/make_font.py builds it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from PIL import ImageFont

FONT_LIST_TIMEOUT_S = 10
"""Wait for fontconfig, which may have to read all fonts of the machine first."""

SIZE = 12
"""Height of the letters, in pixels per em."""

Font = ImageFont.FreeTypeFont

_BUNDLED = Path(__file__).parent / "font.ttf"
_NO_GLYPH = "\uffff"
"""Never a character, so that a font draws what it draws for one that it lacks."""

_STYLES = ("Bold", "Black", "Light", "Thin", "Italic", "Oblique", "Mono", "Condensed")
"""In names of fonts that stand out beside a plain one."""

# Variation selectors, tags, skin tones: they refine the sign before them.
_REFINEMENTS = re.compile("[\ufe00-\ufe0f\U000e0020-\U000e007f\U0001f3fb-\U0001f3ff]")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_JOINED = re.compile(r"(?<=\])\u200d(?=\[)")


@cache
def bundled_font() -> Font:
    """The font of this folder."""
    return ImageFont.truetype(_BUNDLED, SIZE)


def without_emoji(text: str) -> str:
    """The text with the names of emoji and of other signs that the bundled font lacks: ``[fox face]``."""
    text = _FLAG.sub(lambda flag: f"[{''.join(chr(ord(sign) - 0x1F1E6 + ord('A')) for sign in flag[0])}]", text)
    signs = (_named(sign) for sign in _REFINEMENTS.sub("", text))
    return _JOINED.sub("", "".join(signs))


def _named(sign: str) -> str:
    if sign.isascii() or unicodedata.category(sign) not in ("So", "Sk", "Sm") or has_glyph(bundled_font(), sign):
        return sign
    return f"[{unicodedata.name(sign, f'U+{ord(sign):04X}').lower()}]"


def runs(text: str) -> Iterator[tuple[Font, str]]:
    """The text in parts that one font has all letters of."""
    for font, part in groupby(_fonts(text), key=lambda pair: pair[0]):
        yield font, "".join(letter for _, letter in part)


def _fonts(text: str) -> Iterator[tuple[Font, str]]:
    missing = frozenset(letter for letter in text if not has_glyph(bundled_font(), letter))
    others = _machine_fonts(missing) if missing else []
    last = bundled_font()
    for letter in text:
        # A mark is drawn with the letter that it is on, and a blank with the word before it.
        if unicodedata.category(letter) not in ("Mn", "Mc", "Cf", "Zs") or not has_glyph(last, letter):
            candidates = [bundled_font(), *others]
            last = next((font for font in candidates if has_glyph(font, letter)), bundled_font())
        yield last, letter


@cache
def has_glyph(font: Font, letter: str) -> bool:
    """True if the font has this letter."""
    if unicodedata.category(letter) in ("Cf", "Zs", "Cn", "Cc", "Cs"):
        return True
    return bytes(font.getmask(letter)) != bytes(font.getmask(_NO_GLYPH))


@cache
def _machine_fonts(letters: frozenset[str]) -> list[Font]:
    """Fonts of the machine that together have as many of these letters as there is a font for."""
    found: list[Font] = []
    for letter in sorted(letters):
        if not any(has_glyph(font, letter) for font in found):
            found += _first_with(letter, _font_files(letter))
    return found


def _first_with(letter: str, paths: Iterable[str]) -> list[Font]:
    for path in paths:
        try:
            font = ImageFont.truetype(path, SIZE)
        except OSError:
            # A font of bitmaps has no letters of this size.
            continue
        if has_glyph(font, letter):
            return [font]
    return []


def _font_files(letter: str) -> list[str]:
    """Files of the fonts that fontconfig finds for a letter, sans-serif ones first; none on a machine without it."""
    program = shutil.which("fc-list")
    if program is None:
        return []
    try:
        listed = subprocess.run(
            [program, f":charset={ord(letter):x}", "file"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FONT_LIST_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    paths = [line.strip().removesuffix(":") for line in listed.stdout.splitlines()]
    return sorted(paths, key=lambda path: (any(style in path for style in _STYLES), "Sans" not in path, path))
