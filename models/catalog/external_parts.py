"""Parts of a model that its own repository lacks, as HiDream's its Llama: each is another repository's, at a commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ExternalPart:
    """One part, known exactly. Travels to the workers."""

    name: str
    """The pipeline's name for it: a ``tokenizer...``, else a language model."""
    source: str
    """An 'org/name' repository of transformers."""
    revision: str
    """Its commit."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides pixels."""
        return {"repository": self.source, "revision": self.revision}


def find_external_parts(
    parts: Mapping[str, str], commit_of: Callable[[str, str | None], str]
) -> tuple[ExternalPart, ...]:
    """The parts that a catalog's entry borrows: name -> repository. ``commit_of`` as in models.catalog.resolve."""
    commits = {repository: commit_of(repository, None) for repository in dict.fromkeys(parts.values())}
    return tuple(ExternalPart(name, repository, commits[repository]) for name, repository in parts.items())
