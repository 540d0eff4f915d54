"""Prompts files of lines: JSON and plain text, a bad line at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

MAX_DEPTH = 64
"""Deepest nesting of lists and objects in a line: what walks through deeper ones runs out of stack."""

_LONG_NUMBER = re.compile(rb"\d{19}")

_SIMPLE = frozenset([str, int, bool, type(None)])


class Record(NamedTuple):
    """One line of a prompts file, or what is wrong with it."""

    line: int
    """Counted from 1 as an editor does; for Parquet the row's number."""
    fields: dict[str, Any] | None
    fault: str | None = None


def read_jsonl(file: BinaryIO) -> Iterator[Record]:
    """Yield each line's object. Blank lines are left out."""
    for number, raw in enumerate(file, start=1):
        if fields := _plain_object(raw):
            yield Record(number, fields)
            continue
        text, fault = _decode(raw)
        if fault:
            yield Record(number, None, fault)
        elif text.strip():
            yield _json_record(number, text)


def _plain_object(raw: bytes) -> dict[str, Any] | None:
    """The object of an ordinary line, by orjson, three times as fast; None for a line that needs a closer look.

    Those are lines with a fault, with deep nesting, and with whole numbers that orjson would make inexact.
    """
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    # Only a list or an object nests, and only a float may be a whole number made inexact.
    if _SIMPLE.issuperset(map(type, fields.values())):
        return fields
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _LONG_NUMBER.search(raw):
        return None
    return fields


def _json_record(number: int, text: str) -> Record:
    try:
        fields = json.loads(text)
        # Half of a surrogate pair can only come from an escape, and no file can hold it.
        if "\\u" in text:
            json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return Record(number, None, f"text that is not valid Unicode ({error.reason}): {shorten(text)}")
    except (ValueError, RecursionError) as error:
        return Record(number, None, f"not JSON ({error}): {shorten(text)}")
    if not isinstance(fields, dict):
        return Record(number, None, f'not a JSON object such as {{"prompt": "..."}}: {shorten(text)}')
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(fields) > MAX_DEPTH:
        return Record(number, None, f"lists and objects nested over {MAX_DEPTH} deep: {shorten(text)}")
    return Record(number, fields)


def _depth(value: Any) -> int:
    """How deep lists and dicts are nested; counted level by level, since recursion has its own limit."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, (dict, list))]:
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        depth += 1
    return depth


def read_text(file: BinaryIO) -> Iterator[Record]:
    """Yield each line as a prompt. Blank lines are left out."""
    for number, raw in enumerate(file, start=1):
        text, fault = _decode(raw)
        if fault:
            yield Record(number, None, fault)
        elif text.strip():
            yield Record(number, {"prompt": text.strip()})


def _decode(raw: bytes) -> tuple[str, str | None]:
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 (byte {error.start + 1}): save the file in UTF-8"


def shorten(text: str) -> str:
    """The text in quotes, 80 letters of it at the most."""
    text = text.strip()
    return repr(text if len(text) <= 80 else text[:77] + "...")
