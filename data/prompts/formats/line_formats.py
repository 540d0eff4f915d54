"""Readers of line-based prompts files (JSON Lines, plain text); a bad line affects no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from imagemill.data.errors import one_line
from imagemill.data.prompts.formats.bounded_lines import TOO_LONG, bounded_lines
from imagemill.data.prompts.formats.text_file import TextFile
from imagemill.data.prompts.texts import UTF16_HINT

MAX_DEPTH = 64
"""Maximum nesting of lists and objects in a line: recursive code would run out of stack on deeper ones."""

_LONG_NUMBER = re.compile(rb"\d{19}")

_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s,]*")

_SIMPLE = frozenset([str, int, bool, type(None)])


class BrokenFile(Exception):
    """A file cannot be read, or not be taken apart into rows; the message says what it has, without its name."""


class Record(NamedTuple):
    """One line of a prompts file, or the reason it cannot be read."""

    line: int
    """Counted from 1, as in an editor; the row number in Parquet."""
    fields: dict[str, Any] | None
    fault: str | None = None
    doubt: str | None = None
    """Why it is not built, unless the dataset has its images already: an earlier version read it as a row."""
    heading: tuple[str, ...] = ()
    """All fields of the file, where it lists them: those that are null in this row too."""
    types: Mapping[str, pa.DataType] | None = None
    """Field -> Arrow type, the same object for all records of a file, if the file declares them."""


def read_jsonl(file: TextFile) -> Iterator[Record]:
    """Yield the object of each line. Blank lines are skipped."""
    # To JSON a carriage return is a blank: lines end there only if that makes the first an object.
    old_mac = file.has_mac_lines and file.head.split(b"\r")[0].rstrip().endswith(b"}")
    for number, raw in enumerate(bounded_lines(file, old_mac), start=1):
        if raw is None:
            yield Record(number, None, TOO_LONG)
        elif record := parse_json(number, raw):
            yield from [record] if record.fields is not None else _objects_in_line(number, raw) or [record]


def _objects_in_line(number: int, raw: bytes) -> list[Record]:
    """The objects of a line that are written one after the other, with commas or without; none if it has other text."""
    text = decode(raw)[0].strip(" \t\r\n,")
    found: list[Record | None] = []
    at = 0
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(parse_json(number, text[at:end].encode("utf-8", "surrogatepass")))
        at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
    return [record for record in found if record]


def parse_json(number: int, raw: bytes) -> Record | None:
    """The record of a JSON object, or of a text, which is a prompt; or why it is neither. None for a blank text."""
    if fields := _plain_object(raw):
        return Record(number, fields)
    text, fault = decode(raw)
    if fault:
        return Record(number, None, fault)
    return _json_record(number, text) if text.strip() else None


def _plain_object(raw: bytes) -> dict[str, Any] | None:
    """Fast path: the object of an ordinary line, by orjson, three times as fast; None for a line that needs json.

    Those are lines with errors, deep nesting, or integers that orjson would read as inexact floats.
    """
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    # Only lists and objects nest, and only a float may be an inexact integer.
    if _SIMPLE.issuperset(map(type, fields.values())):
        return fields
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH or _LONG_NUMBER.search(raw):
        return None
    return fields


def _json_record(number: int, text: str) -> Record:
    try:
        fields = json.loads(text)
        # A lone surrogate can only come from an escape, and cannot be encoded.
        if "\\u" in text:
            json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return Record(number, None, f"text that is not valid Unicode ({error.reason})")
    except (ValueError, RecursionError) as error:
        hint = f": {UTF16_HINT}" if "\0" in text else ""
        return Record(number, None, f"not JSON ({one_line(error)}){hint}")
    if isinstance(fields, str):
        # As a line of a text file is.
        return Record(number, {"prompt": fields})
    if not isinstance(fields, dict):
        return Record(number, None, 'not a JSON object such as {"prompt": "..."}')
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(fields) > MAX_DEPTH:
        return Record(number, None, f"lists and objects nested over {MAX_DEPTH} deep")
    return Record(number, fields)


def _depth(value: Any) -> int:
    """Nesting depth of lists and dicts; counted level by level, since recursion is limited."""
    level, depth = [value], 0
    while nested := [item for item in level if isinstance(item, (dict, list))]:
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        depth += 1
    return depth


def read_text(file: TextFile) -> Iterator[Record]:
    """Yield each line as a prompt. Blank lines are skipped."""
    for number, raw in enumerate(bounded_lines(file, file.has_mac_lines), start=1):
        if raw is None:
            yield Record(number, None, TOO_LONG)
            continue
        text, fault = decode(raw)
        if fault:
            yield Record(number, None, fault)
        elif text.strip():
            yield Record(number, {"prompt": text.strip()})


def decode(raw: bytes) -> tuple[str, str | None]:
    """The text of bytes in UTF-8, and what is wrong with them."""
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 (byte {error.start + 1}): {UTF16_HINT if 0 in raw else 'save the file in UTF-8'}"
