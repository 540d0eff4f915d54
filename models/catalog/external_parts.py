"""Parts of a model that its own repository lacks, such as HiDream's Llama: other repositories, each at a commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagemill.models.catalog.source import Locator, ModelSource


@dataclass(frozen=True, slots=True)
class ExternalPart:
    """One part, known exactly. Travels to the workers."""

    name: str
    """Its name in the pipeline: a ``tokenizer...``, else a language model."""
    source: ModelSource
    """A repository of transformers."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels."""
        return self.source.identity


def find_external_parts(field: str, parts: Mapping[str, str], locator: Locator) -> tuple[ExternalPart, ...]:
    """The parts that a catalog's entry lists, name -> repository. Raises RecipeError and UnknownModel."""
    sources = {repository: locator.at_commit(field, repository, None) for repository in dict.fromkeys(parts.values())}
    return tuple(ExternalPart(name, sources[repository]) for name, repository in parts.items())
