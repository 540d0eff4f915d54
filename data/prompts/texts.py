"""Checks of a row's texts for garbage: what no user wrote as a prompt, but files in odd encodings are read as."""

from __future__ import annotations

import unicodedata

from imagemill.data.prompts.row import Row

UTF16_HINT = "is this UTF-16? Save the file in UTF-8"

_INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Zs")
"""Unicode categories: control characters, those without width, and separators."""

# Letters and symbols to Unicode, and blank all the same.
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"


def is_visible(text: str) -> bool:
    """True if a text has a visible character: U+200B or U+FEFF alone is none."""
    return any(unicodedata.category(character) not in _INVISIBLE and character not in _FILLERS for character in text)


def doubt_of(row: Row) -> str | None:
    """Why a row's texts are garbage; None if they are not."""
    texts = [("prompt", row.prompt), *(("edit instruction", text) for text in row.edit_prompts)]
    for what, text in texts:
        if text and not is_visible(text):
            return f"the {what} is empty: it has no visible character" + f" ({UTF16_HINT})" * ("\0" in text)
    for what, text in (*texts, ("negative prompt", row.negative_prompt)):
        if text and "\0" in text:
            return f"the {what} has a NUL character: {UTF16_HINT}"
    return None
