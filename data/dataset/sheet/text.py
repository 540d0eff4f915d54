"""Text layout of the contact sheet: lines of a width in pixels, each drawn in its script's direction."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from PIL import ImageDraw, features

from imagemill.data.dataset.sheet.fonts import runs, without_emoji

LINE = 16
"""Height of a line, in pixels: room for the marks of Thai and Devanagari."""

MAX_CHARACTERS = 500
"""Characters of a text that are laid out: more than fit into any cell."""

_ELLIPSIS = " …"

# Controls of direction would order what stands after the text too.
_NOT_SHOWN = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_WIDE = (
    "\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
)
_PUNCTUATION = (
    "\u3001-\u3003\u3005\u3009\u300b\u300d\u300f\u3011\u3015\u3017"
    "\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d"
)
_SMALL_KANA = (
    "\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30fc"
)
_CLOSING = _PUNCTUATION + _SMALL_KANA
_UNITS = re.compile(f"[^\\S\n]+|[{_WIDE}][{_CLOSING}]*|[^\\s{_WIDE}]+")
"""Between these a line may end: blanks, signs of Chinese and Japanese with what may not begin a line, other words."""


def shown(text: str | None) -> str:
    """The text in one line, with names in place of emoji, and without what is not to be seen."""
    plain = _NOT_SHOWN.sub("", " ".join((text or "")[:MAX_CHARACTERS].split()))
    return without_emoji(plain)


def width_of(text: str) -> float:
    """Width of a text in one line, in pixels."""
    return sum(font.getlength(part) for font, part in runs(text))


def wrap(text: str, width: int, max_lines: int) -> list[str]:
    """The text in lines of at most ``width`` pixels. A text that is cut ends with an ellipsis."""
    lines, line = [], ""
    for unit in _pieces(text, width):
        if line and width_of((line + unit).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += unit if line or not unit.isspace() else ""
    lines += [line.rstrip()] if line.strip() else []
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and width_of(last + _ELLIPSIS) > width:
            last = last[:-1]
        lines[max_lines - 1 :] = [last.rstrip() + _ELLIPSIS]
    return lines


def _pieces(text: str, width: int) -> Iterator[str]:
    """The text's units; one that is wider than a line in parts that are not."""
    for unit in _UNITS.findall(text):
        part = ""
        for letter in unit:
            is_new = unicodedata.category(letter) not in ("Mn", "Mc", "Me")
            if part and is_new and width_of(part + letter) > width:
                yield part
                part = ""
            part += letter
        yield part


def is_right_to_left(text: str) -> bool:
    """True if the first letter that has a direction goes to the left (Unicode's bidirectional algorithm, P2 and P3)."""
    kinds = (unicodedata.bidirectional(letter) for letter in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), False)


def draw_lines(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str], width: int, fill: str = "black"
) -> None:
    """Draw the lines of one text from ``place`` (left, top) down; right-aligned if it is written from the right."""
    to_left = is_right_to_left(" ".join(lines))
    # Without raqm letters are not joined, and all go from left to right.
    direction = ("rtl" if to_left else "ltr") if features.check("raqm") else None
    for number, line in enumerate(lines):
        parts = list(runs(line))
        x = place[0] + (width - width_of(line) if to_left else 0.0)
        for font, part in reversed(parts) if to_left else parts:
            # On one baseline, whatever the heights of the fonts.
            baseline = place[1] + number * LINE + LINE - 4
            draw.text((x, baseline), part, fill=fill, font=font, anchor="ls", direction=direction)
            x += font.getlength(part)
