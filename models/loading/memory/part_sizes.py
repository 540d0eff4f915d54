"""Sizes of a model's parts, read from the headers of the files that are loaded: their weights, and bytes in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from imagemill.data.config.memory import Quantization
from imagemill.models.catalog.single_file.checkpoint import read_checkpoint
from imagemill.models.catalog.single_file.contents import Checkpoint
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.weight_files import loaded_files, loaded_parts, read_index, variant_of

BYTES_PER_WEIGHT: Mapping[Quantization, float] = {
    "bitsandbytes_8bit": 1,
    # Beside each 64 weights lies their float32 scale.
    "bitsandbytes_4bit": 0.5 + 4 / 64,
    "torchao_int8": 1,
    "torchao_float8": 1,
    "torchao_float8_dynamic": 1,
}
"""Of a quantized layer."""

_DTYPE_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I16": 2}


@dataclass(frozen=True, slots=True)
class PartSize:
    """Size of one part."""

    library: str
    """diffusers, transformers, or another one that its class is of."""
    weights: int
    """Number of all weights, ..."""
    in_layers: int
    """... and of those in layers that can be quantized."""
    bytes_on_disk: int
    is_quantized: bool
    """True if its files are: then they are loaded as they are."""

    def loaded_bytes(self, bytes_per_weight: int, quantized: float | None = None) -> int:
        """Bytes in memory. ``quantized``: bytes per weight of its layers; None where they stay as they are."""
        if self.is_quantized:
            return self.bytes_on_disk
        in_layers = self.in_layers * (bytes_per_weight if quantized is None else quantized)
        return int(in_layers + (self.weights - self.in_layers) * bytes_per_weight)


def part_sizes(folder: Path) -> dict[str, PartSize]:
    """Name -> size, for all parts with weights that a pipeline is loaded with from this folder."""
    index, variant = read_index(folder), variant_of(folder)
    files = {part: loaded_files(folder / part, variant) for part in loaded_parts(index)}
    return {part: _size(str(index[part][0]), folder / part, found) for part, found in files.items() if found}


def model_sizes(spec: ModelSpec, folder: Path) -> dict[str, PartSize]:
    """Name -> size, for all parts with weights that a spec's model has itself. ``folder``: of it, or of its config."""
    if spec.source.is_checkpoint:
        return checkpoint_sizes(read_checkpoint("model", Path(spec.source.location)))
    return part_sizes(folder)


def checkpoint_sizes(checkpoint: Checkpoint) -> dict[str, PartSize]:
    """Name -> size, for all parts that a single file has."""
    return {
        name: PartSize(part.library, *_sums(_in_file(checkpoint, part.prefix)), is_quantized=False)
        for name, part in checkpoint.parts.items()
    }


def _in_file(checkpoint: Checkpoint, prefix: str) -> Iterator[tuple[str, list[int], int]]:
    for name, tensor in checkpoint.header.tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), list(tensor.shape), _DTYPE_BYTES.get(tensor.dtype, 1)


def _size(library: str, part: Path, files: Iterable[Path]) -> PartSize:
    try:
        is_quantized = bool(json.loads((part / "config.json").read_bytes()).get("quantization_config"))
    except (OSError, ValueError, AttributeError):
        is_quantized = False
    return PartSize(library, *_sums(_tensors(files)), is_quantized)


def _sums(tensors: Iterable[tuple[str, list[int], int]]) -> tuple[int, int, int]:
    """Weights, those of them in layers that can be quantized, and bytes on the disk."""
    weights = in_layers = on_disk = 0
    for name, shape, size in tensors:
        count = math.prod(shape)
        weights, on_disk = weights + count, on_disk + count * size
        # Linear layers are matrices; embeddings are too, and are never quantized.
        if (
            len(shape) == 2
            and name.endswith(".weight")
            and not {"embed", "shared"} & set(name.replace("_", ".").split("."))
        ):
            in_layers += count
    return weights, in_layers, on_disk


def _tensors(files: Iterable[Path]) -> Iterator[tuple[str, list[int], int]]:
    """Name, shape and bytes per value of each tensor."""
    for path in files:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_slice(name)
                yield name, tensor.get_shape(), _DTYPE_BYTES.get(tensor.get_dtype(), 1)
