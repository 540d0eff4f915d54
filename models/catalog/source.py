"""Exact source of a model's files: a path on this machine known by a hash, or a repository of the Hub at a commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.model_files import hash_model

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Files of a model, LoRA, ControlNet, ..., known exactly. Travels to the workers."""

    location: str
    """A local path, or an 'org/name' repository."""
    commit: str | None = None
    """Of a repository; None for local files."""
    files: str | None = None
    """Hash of local files; None for a repository."""
    requested: str | None = None
    """The revision that the recipe or the catalog names; None: the default branch."""
    entry: str | None = None
    """Name in the catalog of a model whose weights lie in several folders; None: there is nothing to choose."""
    is_checkpoint: bool = False
    """True if the location is one file that holds a whole model."""

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels. The path of local files does not."""
        return {"files": self.files} if self.files else {"repository": self.location, "revision": self.commit}

    @property
    def version(self) -> str | None:
        """The commit, or the hash of local files."""
        return self.commit or self.files

    @property
    def key(self) -> str | tuple[str, str | None]:
        """Equal for equal files."""
        return self.files or (self.location, self.commit)

    @property
    def pin(self) -> str:
        """Name under which a dataset records the version (data.dataset.folder.Folder.pin), where there are several."""
        return pin_of(self.entry or self.location, self.requested)

    def file(self, field: str, name: str, cache_dir: str | None) -> Path:
        """The local path of one of the files; a repository's is downloaded. Raises RecipeError, naming the field."""
        if self.commit is None:
            return Path(self.location) / name
        from imagemill.models.hub import fetch_file

        return fetch_file(field, self.location, self.commit, name, cache_dir)


@dataclass(frozen=True, slots=True)
class Locator:
    """Finds what a recipe names, on this machine or on the Hub.

    The newest commit is requested from the Hub once a dataset: a later build takes the pinned one, so that a commit to
    a repository's readme regenerates nothing.
    """

    cache_dir: str | None = None
    """The Hub's cache; None: the default."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """ModelSource.pin -> commit."""
    pinned_files: Mapping[str, str] = field(default_factory=dict)
    """ModelSource.pin -> hash of one of a catalog entry's folders."""
    pins_folders: bool = True
    """True if the dataset was begun by a version that pins them: an older one knew but the first folder."""
    hashes_templates: bool = True
    """True if chat templates are part of a folder's identity: not in a dataset that an older version began."""
    catalogued: Mapping[str, bool] = field(default_factory=dict)
    """ModelSource.pin -> whether the dataset has it as a model of the catalog, or with its family's settings alone."""

    def is_catalogued(self, *pins: str) -> bool:
        """True if a repository that the catalog has is that model, with these names of its pinned commit.

        A dataset that pinned it and nothing more is of a version that gave every 'org/name' its family's settings.
        """
        decided = [self.catalogued[pin] for pin in pins if pin in self.catalogued]
        return all(decided) if decided else not any(pin in self.pinned for pin in pins)

    def locate(self, field: str, key: str, name: str, revision: str | None, local: str) -> Path | ModelSource:
        """The path on this machine that ``name`` is, or the repository, at a commit.

        ``field`` is the recipe's section that has ``name`` under ``key``; ``local`` says what may lie on this machine.
        Raises RecipeError and UnknownModel, naming the field.
        """
        path = Path(name).expanduser()
        if path.exists():
            check_no_revision(field, name, revision)
            return path
        if not is_repository(name) or path.suffix == ".safetensors":
            raise RecipeError(f"{field}.{key} is {shown(name)}, which is neither {local} nor an 'org/name' repository.")
        return self.at_commit(f"{field}.{key}", name, revision)

    def at_commit(self, field: str, repository: str, revision: str | None) -> ModelSource:
        """A repository at a revision's commit; None: its default branch's. Raises RecipeError and UnknownModel."""
        commit = revision if _COMMIT.fullmatch(revision or "") else self.pinned.get(pin_of(repository, revision))
        if commit is None:
            from imagemill.models.hub import resolve_commit

            commit = resolve_commit(field, repository, revision, self.cache_dir)
        return ModelSource(repository, commit=commit, requested=revision)

    def hash_folder(self, folder: Path) -> str:
        """Hash of a model's folder, as the dataset's identities have it."""
        return hash_model(folder, templates=self.hashes_templates)

    def among(self, entry: str, newest: Path, earlier: Sequence[Path]) -> ModelSource:
        """The one of a catalog entry's folders that the dataset was begun with; a new dataset has the newest."""
        pinned = self.pinned_files.get(pin_of(entry, None))
        folders = [newest, *reversed(earlier)] if pinned or self.pins_folders else [earlier[0]]
        for folder in folders:
            files = self.hash_folder(folder)
            if pinned in (None, files):
                return ModelSource(str(folder.resolve()), files=files, entry=entry)
        # None of these was pinned: the build refuses the pin.
        return ModelSource(str(newest.resolve()), files=self.hash_folder(newest), entry=entry)


def is_repository(name: str) -> bool:
    """True if a name has the form 'org/name'."""
    return bool(_REPOSITORY.fullmatch(name))


def check_no_revision(field: str, name: str, revision: str | None) -> None:
    """Raises RecipeError where a revision is given for local files."""
    if revision:
        raise RecipeError(
            f"{field}.revision is {shown(revision)}, but {shown(name)} is on this machine, where it has no revisions: "
            "leave it out."
        )


def joined(*parts: str | None) -> str:
    """A path inside a folder or repository; empty parts are left out."""
    return "/".join(filter(None, parts))


def pin_of(repository: str, revision: str | None) -> str:
    """Name under which a dataset records the commit of a repository's revision; None: of its default branch."""
    return f"{repository}@{revision or 'default'}"
