"""Streaming reader of prompts files in any supported format; a bad line affects no other.

Memory does not grow with the file: no record is kept once it is yielded.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa
from fsspec.core import OpenFile, get_compression
from fsspec.implementations.local import LocalFileSystem

from imagemill.data.errors import InputError, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.data.prompts import bounded_xz
from imagemill.data.prompts.hub import is_on_hub, open_prompts
from imagemill.data.prompts.line_formats import Record, read_jsonl, read_text
from imagemill.data.prompts.parquet_format import ImageFields, no_images, read_parquet
from imagemill.data.prompts.table_formats import BadHeading, read_separated
from imagemill.data.storage.protocols import PROMPTS, ForbiddenProtocol, open_store, split_protocol

bounded_xz.register()


def read_records(path: str, images: ImageFields = no_images) -> Iterator[Record]:
    """Yield the records of a prompts file, or of a dataset on the Hub (data/prompts/hub.py), in order.

    ``images`` chooses the Parquet columns to read even if they contain bytes; other binary columns are skipped.
    Raises InputError if a whole file cannot be read, RecipeError if the dataset does not exist.
    """
    if not is_on_hub(path):
        yield from _read_file(path, _open(path), images)
        return
    line = 0
    for name, opened in open_prompts(path):
        before = line
        for record in _read_file(name, opened, images):
            # Lines are numbered across files, so that one number identifies a row that was set aside.
            line = before + record.line
            yield record._replace(line=line)


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


def _read_file(path: str, opened: OpenFile, images: ImageFields) -> Iterator[Record]:
    read = _reader(path)
    if read is read_parquet:
        read = partial(read_parquet, images=images)
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
    except pa.ArrowException as error:
        raise InputError(
            f"the prompts file {shown_path(path)} is not Parquet, or is damaged: {one_line(error)}"
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


def _reader(path: str) -> Callable[[BinaryIO], Iterator[Record]]:
    suffixes = PurePosixPath(path.lower()).suffixes
    while suffixes and suffixes[-1] in (".gz", ".bz2", ".xz"):
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in READERS:
        raise InputError(
            f"the prompts file {shown_path(path)} ends in {shown(suffix or 'nothing')}, "
            f"which is none of {', '.join(READERS)} (also with .gz, .bz2, .xz)."
        )
    return READERS[suffix]


READERS: dict[str, Callable[[BinaryIO], Iterator[Record]]] = {
    ".jsonl": read_jsonl,
    ".csv": read_separated(","),
    ".tsv": read_separated("\t"),
    ".parquet": read_parquet,
    ".txt": read_text,
}
