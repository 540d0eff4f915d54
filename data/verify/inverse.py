"""Check of inverse rows against their forward rows, and the rows of a file that are not inverse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from imagemill.data.config.chain import plain_chain
from imagemill.data.dataset.files.inverse import forward_key, is_inverse
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns

_Images = tuple[Any, Any]
"""sha256 of the input and of the edited image."""


class InverseFault(NamedTuple):
    """Fault of an inverse row."""

    file: str
    id: str
    what: str


def has_inverses(recipe: Mapping[str, Any]) -> bool:
    """True if a manifest's recipe asks for inverse rows."""
    return any(section.get("inverse") for _, section in plain_chain(recipe))


def forward_rows(folder: Folder, manifest: Mapping[str, Any], file: Mapping[str, Any]) -> Sequence[int]:
    """The numbers of the rows in a file of data/ that are not inverse. Raises OutputError."""
    if not has_inverses(manifest["recipe"]):
        return range(file["rows"])
    chunks = read_columns(folder.data / file["name"], ["row_key"])
    keys = (key for chunk in chunks for key in chunk["row_key"])
    return [number for number, key in enumerate(keys) if not is_inverse(key)]


class InverseCheck:
    """Compares inverse rows with their forward rows, which may be in any file; about 400 bytes of memory a row."""

    def __init__(self) -> None:
        self._forward: dict[str, _Images] = {}
        self._inverse: list[tuple[str, str, Mapping[str, Any]]] = []

    def add(self, file: str, row: Mapping[str, Any]) -> None:
        """Add a row of data/, as far as its columns row_key, id, sha256 and input_sha256 go."""
        key = row["row_key"]
        if is_inverse(key):
            self._inverse.append((file, key, {name: row[name] for name in ("id", "sha256", "input_sha256")}))
        else:
            self._forward[key] = row["input_sha256"], row["sha256"]

    def faults(self) -> Iterator[InverseFault]:
        """The inverse rows that do not have the images of a forward row in the other order."""
        for file, key, row in self._inverse:
            images = self._forward.get(forward_key(key))
            if images is None:
                yield InverseFault(file, row["id"], "an inverse row, and the dataset lacks the row that it is of")
            elif images != (row["sha256"], row["input_sha256"]):
                yield InverseFault(file, row["id"], "an inverse row that has not the images of the row that it is of")
