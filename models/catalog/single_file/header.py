"""Header of a safetensors file: names, types and shapes of its tensors, read without the tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagemill.data.errors import RecipeError, one_line
from imagemill.data.messages import shown_path

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit (safetensors, "Format")."""

FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})
"""Types of eight bits, as a header writes them."""

_NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file."""

    dtype: str
    """As a header writes it: F32, BF16, F8_E4M3, ..."""
    shape: tuple[int, ...]
    start: int
    """Of its first byte in the file."""
    end: int

    @property
    def count(self) -> int:
        """Number of its values."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Header:
    """All tensors of a file, by name."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def below(self, prefix: str) -> dict[str, tuple[int, ...]]:
        """The tensors whose names begin so: rest of the name -> shape."""
        return {
            name.removeprefix(prefix): tensor.shape for name, tensor in self.tensors.items() if name.startswith(prefix)
        }

    def values(self, name: str) -> np.ndarray | None:
        """A small tensor's values, as float32; None where the file has none, or has it in eight bits."""
        tensor = self.tensors.get(name)
        if tensor is None or tensor.dtype not in (*_NUMPY, "BF16"):
            return None
        with self.path.open("rb") as file:
            file.seek(tensor.start)
            content = file.read(tensor.end - tensor.start)
        if tensor.dtype == "BF16":
            # The upper half of a float32.
            wide = np.frombuffer(content, np.uint16).astype(np.uint32) << 16
            return wide.view(np.float32).reshape(tensor.shape)
        return np.frombuffer(content, _NUMPY[tensor.dtype]).astype(np.float32).reshape(tensor.shape)


def read_header(field: str, path: Path) -> Header:
    """The header of a file. Raises RecipeError, naming the field, where the file is not whole or not safetensors."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
                raise ValueError("it has no header of that format")
            content = json.loads(file.read(length))
        metadata = content.pop("__metadata__", {})
        tensors = dict(_tensors(content, 8 + length))
    except OSError as error:
        raise RecipeError(f"{field} is {shown_path(path)}, which cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise RecipeError(
            f"{field} is {shown_path(path)}, which is not safetensors: {one_line(error, 120)}. Copy or download it "
            "again."
        ) from error
    if any(tensor.end > size for tensor in tensors.values()):
        raise RecipeError(f"{field} is {shown_path(path)}, whose end is missing: copy or download it again.")
    words = {name: text for name, text in metadata.items() if isinstance(text, str)}
    return Header(path, tensors, words)


def _tensors(content: Mapping[str, Any], offset: int) -> Iterator[tuple[str, Tensor]]:
    for name, found in content.items():
        start, end = found["data_offsets"]
        yield name, Tensor(str(found["dtype"]), tuple(map(int, found["shape"])), offset + int(start), offset + int(end))
