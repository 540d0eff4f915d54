"""Hugging Face Hub client for what a build reads before it generates: commits, lists of files and small files.

Tokens come from the environment (HF_TOKEN) or the hub's login, never from a recipe.
"""

from __future__ import annotations

from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.messages import shown


def resolve_commit(field: str, repository: str, revision: str | None, cache_dir: str | None) -> str:
    """The commit of a repository's revision; None: of its default branch.

    If the hub cannot be reached, the commit in the local cache. Raises UnknownModel and RecipeError.
    """
    try:
        return HfApi().model_info(repository, revision=revision).sha
    except GatedRepoError as error:
        raise RecipeError(gated_message(field, repository)) from error
    except RevisionNotFoundError as error:
        raise UnknownModel(f"{field}: the repository {shown(repository)} has no revision {shown(revision)}.") from error
    except RepositoryNotFoundError as error:
        raise UnknownModel(
            f"{field}: there is no repository {shown(repository)} that you may see. Check its name; for a private one "
            "put "
            "a token with access into HF_TOKEN."
        ) from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, httpx2.HTTPError) as error:
        return _cached_commit(field, repository, revision, cache_dir, error)


def _cached_commit(
    field: str, repository: str, revision: str | None, cache_dir: str | None, unreachable: Exception
) -> str:
    try:
        index = hf_hub_download(
            repository, "model_index.json", revision=revision, cache_dir=cache_dir, local_files_only=True
        )
    except (LocalEntryNotFoundError, EntryNotFoundError) as error:
        # A repository without a pipeline, such as a LoRA's, has no index; the cache still knows its branches' commits.
        if ref := _cached_ref(repository, revision, cache_dir):
            return ref
        raise UnknownModel(
            f"{field}: {shown(repository)} is not in the local cache, and the hub cannot be reached "
            f"({type(unreachable).__name__}). Connect, or name a local folder."
        ) from error
    return Path(index).parent.name


def _cached_ref(repository: str, revision: str | None, cache_dir: str | None) -> str | None:
    cached = _cached_repository(repository, cache_dir)
    ref = cached / "refs" / (revision or "main")
    commit = ref.read_text().strip() if ref.is_file() else None
    return commit if commit and (cached / "snapshots" / commit).is_dir() else None


def _cached_repository(repository: str, cache_dir: str | None) -> Path:
    return Path(cache_dir or constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


def list_weights(field: str, repository: str, commit: str, cache_dir: str | None) -> list[str]:
    """The .safetensors files of a repository at a commit; if the hub cannot be reached, those in the local cache.

    Raises UnknownModel and RecipeError.
    """
    try:
        names = HfApi().list_repo_files(repository, revision=commit)
    except GatedRepoError as error:
        raise RecipeError(gated_message(field, repository)) from error
    except RepositoryNotFoundError as error:
        raise UnknownModel(
            f"{field}: there is no repository {shown(repository)} that you may see at {commit[:12]}."
        ) from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, httpx2.HTTPError):
        snapshot = _cached_repository(repository, cache_dir) / "snapshots" / commit
        names = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.safetensors")]
    return sorted(name for name in names if name.endswith(".safetensors"))


def fetch_file(field: str, repository: str, commit: str, name: str, cache_dir: str | None) -> Path:
    """The local path of one small file of a repository at a commit. Raises UnknownModel and RecipeError."""
    try:
        return Path(hf_hub_download(repository, name, revision=commit, cache_dir=cache_dir))
    except GatedRepoError as error:
        raise RecipeError(gated_message(field, repository)) from error
    except (EntryNotFoundError, RepositoryNotFoundError, LocalEntryNotFoundError) as error:
        hint = ": not a diffusers model?" if name == "model_index.json" else "."
        raise UnknownModel(f"{field}: {shown(repository)} has no {name} at {commit[:12]}{hint}") from error


def gated_message(field: str, repository: str) -> str:
    """The message for a repository whose licence has to be accepted first."""
    return (
        f"{field}: the repository {shown(repository)} is gated. Accept its licence on its page, and put a token of "
        "that "
        "account into HF_TOKEN."
    )
