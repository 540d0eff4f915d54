"""Streaming reader of prompts in any supported format; a bad line affects no other.

Memory does not grow with the file: no record is kept once it is yielded.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import BinaryIO

import pyarrow as pa
from fsspec.core import OpenFile, get_compression
from fsspec.implementations.local import LocalFileSystem

from imagemill.data.errors import InputError, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.data.prompts.field_names import RoleNames
from imagemill.data.prompts.formats import bounded_xz, bounded_zstd
from imagemill.data.prompts.formats.arrow_format import read_arrow
from imagemill.data.prompts.formats.image_folder import read_image_folder
from imagemill.data.prompts.formats.json_format import read_json, read_json_lines
from imagemill.data.prompts.formats.line_formats import BrokenFile, Record, read_text
from imagemill.data.prompts.formats.names import COMPRESSIONS, FORMATS, HINTS, format_of, suffix_by_content, suffix_of
from imagemill.data.prompts.formats.parquet_format import ImageFields, no_images, read_parquet
from imagemill.data.prompts.formats.table_formats import BadHeading, read_separated
from imagemill.data.prompts.formats.text_file import TextFile
from imagemill.data.prompts.formats.webdataset import read_webdataset
from imagemill.data.prompts.hub import is_on_hub, open_prompts
from imagemill.data.prompts.local_files import list_prompts
from imagemill.data.storage.protocols import PROMPTS, ForbiddenProtocol, open_store, split_protocol

bounded_xz.register()
bounded_zstd.register()

Read = Callable[[BinaryIO], Iterator[Record]]


def read_records(path: str, images: ImageFields = no_images, roles: RoleNames | None = None) -> Iterator[Record]:
    """Yield the records of prompts in order: of a file, a local folder or glob, or a dataset on the Hub.

    ``images`` chooses the columns of a table to read even if they contain bytes; other binary columns are skipped.
    ``roles`` are the recipe's names for the fields. Raises InputError if a whole file cannot be read, RecipeError if a
    dataset on the Hub does not exist.
    """
    roles = roles or RoleNames()

    def read(name: str, opened: OpenFile) -> Iterator[Record]:
        return _read_file(name, opened, _reader(name, images, roles))

    if is_on_hub(path):
        yield from _numbered(read(name, opened) for name, opened in open_prompts(path))
        return
    protocol, location = split_prompts(path)
    listing = None if protocol else list_prompts(location)
    if listing is None:
        yield from read(path, _open(path))
        return

    def read_local(name: str) -> Iterator[Record]:
        where = str(listing.folder / name)
        return read(where, OpenFile(LocalFileSystem(), where, "rb", compression=get_compression(where, "infer")))

    if listing.is_images:
        yield from read_image_folder(listing, roles, read_local)
    else:
        yield from _numbered(_named(name, read_local(name)) for name in listing.files)


def _numbered(files: Iterable[Iterator[Record]]) -> Iterator[Record]:
    """Number the lines across files, so that one number identifies a row that was set aside."""
    line = 0
    for records in files:
        before = line
        for record in records:
            line = before + record.line
            yield record._replace(line=line)


def _named(name: str, records: Iterator[Record]) -> Iterator[Record]:
    """Put the file's name and its own line into what is wrong with a record."""
    for record in records:
        fault = record.fault and f"{name}, line {record.line}: {record.fault}"
        yield record._replace(fault=fault) if fault else record


def split_prompts(path: str) -> tuple[str, str]:
    """Split recipe.prompts into its protocol, "" for a local file, and its location. Raises InputError."""
    if is_on_hub(path):
        return "hf", path
    try:
        return split_protocol(path, PROMPTS)
    except ForbiddenProtocol as error:
        raise InputError(f"the prompts file {shown_path(path)} is not read: {error}.") from error


def _open(path: str) -> OpenFile:
    protocol, location = split_prompts(path)
    try:
        fs, key = open_store(location) if protocol else (LocalFileSystem(), location)
    except (ImportError, ValueError) as error:
        # The package of the store (s3fs, gcsfs) is not installed.
        raise InputError(f"the prompts file {shown_path(path)} cannot be opened: {one_line(error)}.") from error
    return OpenFile(fs, key, "rb", compression=get_compression(key, "infer"))


def _read_file(path: str, opened: OpenFile, read: Read) -> Iterator[Record]:
    try:
        with ExitStack() as stack:
            yield from read(_enter(stack, opened))
    except FileNotFoundError as error:
        # fsspec says so too of a web server that does not answer.
        cause = error.__cause__ if path.lower().startswith(("http://", "https://")) else None
        if cause and not isinstance(cause, FileNotFoundError) and getattr(cause, "status", 0) != 404:
            raise InputError(f"the prompts file {shown_path(path)} cannot be read: {one_line(cause)}.") from error
        raise InputError(
            f"the prompts file {shown_path(path)} does not exist. Give recipe.prompts the path of one."
        ) from error
    except IsADirectoryError as error:
        raise InputError(
            f"the prompts file {shown_path(path)} is a folder. Give recipe.prompts the path of a file."
        ) from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"the prompts file {shown_path(path)} is cut short or damaged: {one_line(error)}.") from error
    except BadHeading as error:
        raise InputError(f"the heading of the prompts file {shown_path(path)} {error}.") from error
    except BrokenFile as error:
        raise InputError(f"the prompts file {shown_path(path)} {error}.") from error
    except pa.ArrowException as error:
        kind = "Parquet" if format_of(path) == ".parquet" else "Arrow"
        raise InputError(
            f"the prompts file {shown_path(path)} is not {kind}, or is damaged: {one_line(error)}"
        ) from error
    except OSError as error:
        raise InputError(
            f"the prompts file {shown_path(path)} cannot be read: {error.strerror or one_line(error)}."
        ) from error


def _enter(stack: ExitStack, opened: OpenFile) -> BinaryIO:
    try:
        return stack.enter_context(opened)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        raise
    # Storage clients raise their own errors, for instance for missing credentials.
    except Exception as error:
        raise OSError(str(error)) from error


def _text(file: BinaryIO) -> TextFile:
    text = TextFile(file)
    if suffix := suffix_by_content(text.head):
        raise BrokenFile(f"is no text, but begins as a file that ends in {suffix}: add that to its name")
    return text


def _reader(path: str, images: ImageFields, roles: RoleNames) -> Read:
    """The reader of a file of this name. Raises InputError."""
    match format_of(path):
        case ".parquet":
            return partial(read_parquet, images=images)
        case ".arrow" | ".feather":
            return partial(read_arrow, images=images)
        case ".tar":
            return partial(read_webdataset, roles=roles)
        case ".jsonl" | ".ndjson":
            return lambda file: read_json_lines(_text(file), roles.texts)
        case ".json":
            return lambda file: read_json(_text(file), roles.texts)
        case ".csv":
            return lambda file: read_separated(",")(_text(file), roles.texts)
        case ".tsv":
            return lambda file: read_separated("\t")(_text(file), roles.texts)
        case ".txt":
            return lambda file: read_text(_text(file))
        case _:
            suffix = suffix_of(path)
            hint = f" To read this one, {HINTS[suffix]}." if suffix in HINTS else ""
            raise InputError(
                f"the prompts file {shown_path(path)} ends in {shown(suffix or 'nothing')}, "
                f"which is none of {', '.join(FORMATS)} (also with {', '.join(COMPRESSIONS)}).{hint}"
            )
