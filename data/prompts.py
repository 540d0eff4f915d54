"""Read a prompts file of any supported format as a stream of records, a bad line at a time.

Memory does not grow with the file: nothing here keeps a record once it is yielded.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import BinaryIO

import fsspec
import pyarrow as pa

from data.errors import InputError
from data.prompt_lines import Record, read_jsonl, read_text
from data.prompt_tables import BadHeading, read_parquet, read_separated


def read_records(path: str) -> Iterator[Record]:
    """Yield a prompts file's records in order. Raises InputError when the file as a whole cannot be read."""
    read = _reader(path)
    try:
        opened = fsspec.open(path, "rb", compression="infer")
    except (ImportError, ValueError) as error:
        # No such protocol, or one (s3://, https://) whose package is not installed.
        raise InputError(f"the prompts file {path!r} cannot be opened: {error}.") from error
    try:
        with ExitStack() as stack:
            yield from read(_enter(stack, opened))
    except FileNotFoundError as error:
        raise InputError(f"the prompts file {path!r} does not exist. Give recipe.prompts the path of one.") from error
    except IsADirectoryError as error:
        raise InputError(f"the prompts file {path!r} is a folder. Give recipe.prompts the path of a file.") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"the prompts file {path!r} is cut short or damaged: {error}.") from error
    except BadHeading as error:
        raise InputError(f"the heading of the prompts file {path!r} {error}.") from error
    except pa.ArrowException as error:
        raise InputError(f"the prompts file {path!r} is not Parquet, or is damaged: {error}") from error
    except OSError as error:
        raise InputError(f"the prompts file {path!r} cannot be read: {error}.") from error


def _enter(stack: ExitStack, opened: fsspec.core.OpenFile) -> BinaryIO:
    try:
        return stack.enter_context(opened)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        raise
    # A store's client has errors of its own, such as that there are no credentials.
    except Exception as error:
        raise OSError(str(error)) from error


def _reader(path: str) -> Callable[[BinaryIO], Iterator[Record]]:
    suffixes = PurePosixPath(path.lower()).suffixes
    while suffixes and suffixes[-1] in (".gz", ".bz2", ".xz"):
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in READERS:
        raise InputError(
            f"the prompts file {path!r} ends in {suffix or 'nothing'!r}, "
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
