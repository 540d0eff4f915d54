"""Readers of prompts in JSON: an array of rows, rows one after the other, or an array inside of an object.

Rows are read one at a time, so that a file of any size takes little memory. A row that is no object is set aside; if it
is not sure where a damaged row ends, the file is refused, since the rows after it could be lost uncounted.
"""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Collection, Iterator

from imagemill.data.messages import shown
from imagemill.data.prompts.formats.bounded_lines import MAX_LINE_BYTES
from imagemill.data.prompts.formats.json_scanner import JsonScanner, may_hold_rows
from imagemill.data.prompts.formats.line_formats import BrokenFile, Record, parse_json, read_jsonl
from imagemill.data.prompts.formats.text_file import TextFile

log = logging.getLogger("imagemill")

ROW_FIELDS = frozenset(
    ["conversations", "prompt", "text", "caption", "instruction", "edit_prompt", "images", "image", "url", "messages"]
)
"""Members that only a row has: what has one of them is no wrapper around rows."""

ROW_TOO_LONG = f"the row has over {MAX_LINE_BYTES // 2**20} MiB"


def read_json(file: TextFile, named: Collection[str] = ()) -> Iterator[Record]:
    """Yield each row of an array, of an object with one array of objects, or of one or more objects.

    ``named``: fields that the recipe reads. Raises BrokenFile.
    """
    if _is_lines(file.head):
        yield from read_jsonl(file)
        return
    scanner = JsonScanner(file)
    number = 0
    while begin := scanner.peek():
        if begin == b"[":
            scanner.take()
            rows = _elements(scanner, number)
        elif begin == b"{" and not number:
            scanner.take()
            rows = _first_object(scanner, ROW_FIELDS | set(named))
        elif begin == b"{":
            rows = iter([_record(scanner, number + 1)])
        else:
            raise BrokenFile(f"has {begin.decode('utf-8', 'replace')!r} on line {scanner.line}, where a row begins")
        for record in rows:
            number = record.line
            yield record


def read_json_lines(file: TextFile, named: Collection[str] = ()) -> Iterator[Record]:
    """Yield the object of each line; or the rows of an array or of objects over several lines, as `read_json` does."""
    yield from read_json(file, named) if _is_no_lines(file.head) else read_jsonl(file)


def _lines(head: bytes) -> list[bytes]:
    """The first lines of a file, without blank ones."""
    return [line for line in head.removeprefix(codecs.BOM_UTF8).split(b"\n", 100) if line.strip()]


def _is_lines(head: bytes) -> bool:
    """True if a .json file is JSON Lines after all: its first line is an object, and another line follows."""
    first, *others = _lines(head) or [b""]
    record = parse_json(1, first) if others and first.lstrip().startswith(b"{") else None
    return record is not None and record.fields is not None


def _is_no_lines(head: bytes) -> bool:
    """True if a .jsonl file is one array of objects, or objects over several lines."""
    first, *others = _lines(head) or [b""]
    if first.strip() == b"{":
        return bool(others) and not others[0].lstrip().startswith(b"{")
    inner = b"".join([first, *others]).lstrip()
    return inner.startswith(b"[") and inner[1:].lstrip().startswith(b"{")


def _elements(scanner: JsonScanner, number: int) -> Iterator[Record]:
    """The rows of an array whose bracket was taken."""
    while (begin := scanner.peek()) != b"]":
        if begin == b",":
            scanner.take()
            continue
        number += 1
        yield _record(scanner, number)
    scanner.take()


def _record(scanner: JsonScanner, number: int) -> Record:
    line = scanner.line
    raw = scanner.value()
    if raw is None:
        return Record(number, None, ROW_TOO_LONG)
    record = parse_json(number, raw) or Record(number, None, "it is empty")
    if record.fields is None and may_hold_rows(raw):
        raise BrokenFile(f"is damaged in row {number}, which begins on line {line}: {record.fault}")
    return record


def _first_object(scanner: JsonScanner, row_fields: Collection[str]) -> Iterator[Record]:
    """The rows in the only array of objects of an object whose bracket was taken; without one the object, as a row."""
    parts: list[bytes] | None = []
    wrapper: str | None = None
    names: set[str] = set()
    while (begin := scanner.peek()) != b"}":
        if begin == b",":
            scanner.take()
            continue
        name, raw_name = _name(scanner)
        names.add(name)
        if scanner.peek() != b"[":
            value = scanner.value()
        else:
            scanner.take()
            if scanner.peek() == b"{" and names.isdisjoint(row_fields):
                if wrapper is not None:
                    raise BrokenFile(
                        f"has rows in {shown(wrapper)} and in {shown(name)}: save those that are prompts as a file"
                    )
                wrapper = name
                log.info("The rows of the prompts file are those in %s.", shown(name))
                yield from _elements(scanner, 0)
                continue
            value = scanner.value(b"[")
        # Not needed behind a list of rows; a member that is too long takes the row with it.
        if wrapper is not None or value is None or sum(map(len, parts or ())) > MAX_LINE_BYTES:
            parts = None
        elif parts is not None:
            parts.append(raw_name + b":" + value)
    scanner.take()
    if wrapper is not None:
        return
    if parts is None:
        yield Record(1, None, ROW_TOO_LONG)
    else:
        record = parse_json(1, b"{" + b",".join(parts) + b"}") or Record(1, {})
        if record.fields is None:
            # It may be all rows of the file.
            raise BrokenFile(f"is damaged in its first object: {record.fault}")
        yield record


def _name(scanner: JsonScanner) -> tuple[str, bytes]:
    """The name of a member, and as it is written."""
    line = scanner.line
    raw = scanner.value() or b""
    try:
        name = json.loads(raw)
    except ValueError:
        name = None
    if not isinstance(name, str) or scanner.peek() != b":":
        raise BrokenFile(f"has no name in quotes and a colon on line {line}, where a member of an object begins")
    scanner.take()
    return name, raw
