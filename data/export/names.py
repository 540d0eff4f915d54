"""Names of an export's files: made of the rows' ids, so that they stay when the dataset grows; safe on every disk.

An id is data. One that is a plain word of ASCII is the name; of any other (``a/b``, ``狐``, ``con``, 300 letters) the
name is what is plain in it, and the beginning of its SHA-256. Names that only differ in capitals are one on the disks
of Windows and macOS: then each gets the beginning of its row key.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imagemill.data.export.entry import Choices, Named, Row
from imagemill.data.identity import digest

NAMED_BY = ("id", "variant", "turn_index", "candidate", "row_key", "image_key_0", "image_key_1")
"""Columns of which a row's name is made."""

MAX_LENGTH = 100
"""Longest name, in characters; a file system takes 255 bytes, with suffixes."""

_PLAIN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_LENGTH - 1}}}")
# What Windows does not take as a name, whatever the suffix.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
_MARKS = {"variant": "v", "turn_index": "t", "candidate": "c"}
_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|webp|gif|bmp|tiff?|avif|hei[cf])$", re.IGNORECASE)
_MESSAGE = re.compile(r"(.+)-(\d{1,6})")


def plain_name(text: str) -> str:
    """The text as the name of a file or folder; texts that differ have names that differ."""
    if _PLAIN.fullmatch(text) and text.casefold() not in _DEVICES:
        return text
    return _with_digest(text)


def _with_digest(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text[: 4 * MAX_LENGTH])[: MAX_LENGTH // 2].strip("-_")
    return f"{plain}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}".lstrip("-")


def names_of(rows: Iterable[Row], choices: Choices) -> list[Named]:
    """The names of all rows of an export, in order. ``rows``: with the columns NAMED_BY and those that were chosen."""
    stems, keys, ids, classes = [], [], [], []
    for row in rows:
        key = str(row.get("row_key") or digest([row.get("image_key_0"), row.get("image_key_1")]))
        value = row.get(choices.name or "id")
        # Of a column of file names, such as that of the training images for which these are the regularisation.
        text = _IMAGE_SUFFIX.sub("", str(value)) if choices.name and value is not None else value
        base = plain_name(str(text)) if text is not None else f"row-{key[:16]}"
        stems.append(base + "".join(f"-{mark}{row[name]}" for name, mark in _MARKS.items() if row.get(name)))
        keys.append(key)
        ids.append(str(row.get("id") or key))
        classes.append(row.get(choices.by_class) if choices.by_class else None)
    folders = class_folders(value for value in classes if value is not None)
    messages = _messages_of(set(ids)) if choices.messages else {}
    # An id that ends like the second variant of another one is not its name.
    groups = class_folders({messages.get(own, (own, 0))[0] for own in ids}, with_digest=re.compile(r".*-v\d+"))
    named = []
    for stem, own, value in zip(unique(stems, keys), ids, classes, strict=True):
        group, message = messages.get(own, (own, 0))
        named.append(Named(stem, folders.get(str(value)) if value is not None else None, groups[group], message))
    return named


def unique(stems: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The stems, each made different from the others by its row's key where they are alike."""
    counts = Counter(stem.casefold() for stem in stems)
    taken = {stem for stem, count in counts.items() if count == 1}
    names = []
    for stem, key in zip(stems, keys, strict=True):
        name = stem
        if counts[stem.casefold()] > 1:
            name = f"{stem}-{key[:16]}"
            while name.casefold() in taken:
                name += "x"
            taken.add(name.casefold())
        names.append(name)
    return names


def class_folders(values: Iterable[Any], with_digest: re.Pattern[str] | None = None) -> Mapping[str, str]:
    """Text of a class -> its folder. ``with_digest``: texts that are no names as they are."""
    plain = {text: plain_name(text) for text in sorted({str(value) for value in values})}
    counts = Counter(name.casefold() for name in plain.values())
    return {
        text: _with_digest(text)
        if counts[name.casefold()] > 1 or (with_digest and with_digest.fullmatch(text))
        else name
        for text, name in plain.items()
    }


def _messages_of(ids: set[str]) -> dict[str, tuple[str, int]]:
    """Id of a message's row -> (id of its row of the prompts file, number of the message)."""
    found = {}
    for own in ids:
        match = _MESSAGE.fullmatch(own)
        if match and match[1] not in ids and f"{match[1]}-{1 if match[2] == '0' else 0}" in ids:
            found[own] = (match[1], int(match[2]))
    return found
