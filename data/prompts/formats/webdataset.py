"""Reader of prompts in WebDataset tars: files of the same name up to the first dot are one row.

`0001.jpg` is the row's image, `0001.txt` its prompt, `0001.json` its other fields and `0001` its id. An image with two
suffixes (`0001.mask.png`) is the field `mask`, if the recipe reads an image of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from tarfile import TarInfo
from typing import Any, BinaryIO, NamedTuple

from imagemill.data.messages import shown
from imagemill.data.prompts.field_names import RoleNames
from imagemill.data.prompts.formats.json_scanner import MAX_LINE_BYTES
from imagemill.data.prompts.formats.line_formats import Record, decode, parse_json
from imagemill.data.prompts.formats.tar_members import tar_members
from imagemill.data.prompts.local_files import CAPTION_SUFFIXES, IMAGE_SUFFIXES

MAX_IMAGE_BYTES = 100 * 2**20


class _Part(NamedTuple):
    key: str
    suffix: str
    """Behind the first dot of the name, in lower case."""
    member: TarInfo
    read: Callable[[], bytes] | None
    """Reader of its content; None for a link or a special file."""


def read_webdataset(file: BinaryIO, roles: RoleNames) -> Iterator[Record]:
    """Yield the row of each key, whose files follow each other. Raises BrokenFile."""
    for number, (key, parts) in enumerate(groupby(_parts(file), key=lambda part: part.key), start=1):
        fields: dict[str, Any] = {}
        faults = [fault for part in parts if (fault := _read(part, fields, roles))]
        if faults:
            yield Record(number, None, f"{shown(key)}: {faults[0]}")
        else:
            yield Record(number, {**fields, **({roles.id: key} if roles.id else {})})


def _parts(file: BinaryIO) -> Iterator[_Part]:
    for member, read in tar_members(file):
        folder, slash, name = member.name.rpartition("/")
        # Finder's `._0001.jpg` and the like.
        if member.isdir() or name.startswith("."):
            continue
        stem, _, suffix = name.partition(".")
        yield _Part(folder + slash + stem, suffix.lower(), member, read)


def _read(part: _Part, fields: dict[str, Any], roles: RoleNames) -> str | None:
    """Read a file of a row into its fields; returns what is wrong with it."""
    field = _image_field(part.suffix, roles)
    is_text = f".{part.suffix}" in CAPTION_SUFFIXES
    if field is None and not is_text and part.suffix != "json":
        return None
    if part.read is None:
        return f"{shown(part.member.name)} is a link or a special file, which is not followed"
    limit = MAX_IMAGE_BYTES if field else MAX_LINE_BYTES
    if part.member.size > limit:
        return f"{shown(part.member.name)} has over {limit // 2**20} MiB"
    content = part.read()
    if field is not None:
        # As `datasets` has it in Parquet.
        fields[field] = {"bytes": content, "path": part.member.name}
        return None
    if is_text:
        text, fault = decode(content)
        if text.strip():
            fields[roles.prompt] = text.strip()
        return fault
    record = parse_json(1, content)
    if record is None or record.fields is None:
        return record.fault if record else None
    # A separate file takes precedence.
    fields.update({name: value for name, value in record.fields.items() if name not in fields})
    return None


def _image_field(suffix: str, roles: RoleNames) -> str | None:
    """The field with this file, if it is an image that the recipe reads."""
    name, dot, last = suffix.rpartition(".")
    if f".{last}" not in IMAGE_SUFFIXES:
        return None
    by_name = {field.lower(): field for field in roles.embedded}
    return by_name.get(suffix) or (by_name.get(name) if dot else roles.images)
