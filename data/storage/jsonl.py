"""JSON lines files: appended to line by line, and read without a line that a kill has cut short."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagemill.data.storage.locations import Location


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append one JSON line to a file and sync it to disk."""
    with open(path, "ab+") as file:
        # After a line that a kill has cut short, begin a new one.
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")
        file.write(json_line(value))
        file.flush()
        os.fsync(file.fileno())


def json_line(value: Mapping[str, Any]) -> bytes:
    """One encoded line."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def read_lines(path: Location) -> Iterator[dict[str, Any]]:
    """The JSON lines of a file, without lines that a kill has cut short; none if there is no file."""
    if not path.exists():
        return
    # As bytes: a kill may cut a character in two. A remote file is read as a whole, since each read is a request.
    with path.open("rb") if isinstance(path, Path) else io.BytesIO(path.read_bytes()) as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value
