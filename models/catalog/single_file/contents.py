"""Records of what a single-file checkpoint holds. They name its parts, and have no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imagemill.models.catalog.single_file.header import Header

Scheme = Literal["original", "diffusers", "clip", "open_clip", "t5"]
"""Naming of a part's tensors: its makers', or that of diffusers, transformers (clip, t5) or OpenCLIP."""

Tokenizer = Literal["clip", "clip, padded with 0", "t5"]

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, slots=True)
class FilePart:
    """One part of a pipeline, in a single file."""

    prefix: str
    """Of its tensors' names."""
    scheme: Scheme
    config: Mapping[str, Any]
    """Configuration that its class is made with; ``_class_name`` or ``architectures`` names that."""

    @property
    def kind(self) -> str:
        """Name of its class, in diffusers or transformers."""
        return str(self.config.get("_class_name") or self.config["architectures"][0])

    @property
    def library(self) -> str:
        """The library that has its class."""
        return "diffusers" if "_class_name" in self.config else "transformers"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A single file, as a pipeline of diffusers."""

    path: Path
    family: str
    """Name of the pipeline class."""
    parts: Mapping[str, FilePart]
    """Name in the pipeline -> part, for those that the file has."""
    lacking: Mapping[str, tuple[str, str]]
    """Name -> library and class, for those that its pipeline needs and the file does not have."""
    tokenizers: Mapping[str, Tokenizer]
    scheduler: Mapping[str, Any]
    header: Header

    @property
    def dtype(self) -> str | None:
        """The dtype of the denoiser's largest tensor; None where a pipeline cannot be loaded in it."""
        prefix = next(part.prefix for name, part in self.parts.items() if name in ("unet", "transformer"))
        tensors = [tensor for name, tensor in self.header.tensors.items() if name.startswith(prefix)]
        return _DTYPES.get(max(tensors, key=lambda tensor: tensor.count).dtype)
