"""Reader of prompts in a dataset on the Hugging Face Hub: a single file, or the Parquet files of a split.

`hf://datasets/org/name/path.jsonl` is a file, `hf:org/name:config:split` a split, in DataFlow's notation. Both accept a
revision after the name: `org/name@revision`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

import httpx2
from fsspec.core import OpenFile, get_compression
from fsspec.utils import glob_translate
from huggingface_hub import HfApi, HfFileSystem, constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from imagemill.data.errors import InputError, RecipeError, one_line
from imagemill.data.messages import cut, shown

CONVERTED = "refs/convert/parquet"
"""Revision with the Hub's own Parquet conversion of a dataset in another format."""

MAX_STARS = 8
"""Of a glob in a card; the time to match one grows with a power of their number."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILE = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>refs/\w+/[^/]+|[^/]+))?/(?P<path>.+)")
_SPLIT = re.compile(r"hf:(?P<repository>[^:@]+)(@(?P<revision>[^:]+))?(:(?P<config>[^:]+))??(:(?P<split>[^:]+))?")


@dataclass(frozen=True, slots=True)
class HubPrompts:
    """Location of prompts on the Hub: a file's ``path``, or a ``config`` (None: the default) and ``split``."""

    repository: str
    revision: str | None
    path: str | None = None
    config: str | None = None
    split: str = "train"

    def __str__(self) -> str:
        at = f"@{quote(self.revision, safe='')}" if self.revision else ""
        if self.path is not None:
            return f"hf://datasets/{self.repository}{at}/{self.path}"
        return ":".join(filter(None, (f"hf:{self.repository}{at}", self.config, self.split)))


def is_on_hub(prompts: str) -> bool:
    """True if recipe.prompts is on the Hub."""
    return prompts.startswith("hf:")


def parse_hub_prompts(prompts: str) -> HubPrompts:
    """Parse a recipe.prompts on the Hub. Raises RecipeError."""
    match = _FILE.fullmatch(prompts) or (None if prompts.startswith("hf://") else _SPLIT.fullmatch(prompts))
    if match is None:
        raise RecipeError(
            f"recipe.prompts is {shown(prompts)}: on the Hub it is hf://datasets/org/name/path for a file of a "
            "dataset, or "
            "hf:org/name:config:split for its Parquet files (hf:org/name:split for the default config)."
        )
    fields: dict[str, Any] = {name: value for name, value in match.groupdict().items() if value is not None}
    return HubPrompts(**(fields | {"revision": unquote(fields.get("revision", "")) or None}))


def is_pinned(prompts: str, pinned: Any) -> bool:
    """True if ``pinned`` is these prompts at a commit."""
    match = isinstance(pinned, str) and (_FILE.fullmatch(pinned) or _SPLIT.fullmatch(pinned))
    if not match or not is_on_hub(pinned):
        return False
    where = parse_hub_prompts(pinned)
    same = replace(where, revision=None) == replace(parse_hub_prompts(prompts), revision=None)
    return same and _COMMIT.fullmatch(where.revision or "") is not None


def pin_prompts(prompts: str) -> str:
    """Pin the prompts to their current commit. Raises RecipeError and InputError."""
    where, hub = parse_hub_prompts(prompts), HfApi()
    with _readable_errors(where):
        commit = hub.dataset_info(where.repository, revision=where.revision).sha
        for candidate in _commits(hub, where, commit):
            if _files_of(hub, where, candidate):
                return str(replace(where, revision=candidate))
        available = [path for path in _list(hub, where, commit) if path.endswith(".parquet")]
    split = f"split {shown(where.split)}" + (f" of config {shown(where.config)}" if where.config else "")
    has = f"it has {', '.join(map(cut, available[:5]))}" if available else "it has no Parquet file"
    raise InputError(
        f"recipe.prompts: the dataset {shown(where.repository)} at {commit[:12]} has no Parquet files for {split}; "
        f"{has}. "
        f"Name a file instead: hf://datasets/{where.repository}/path."
    )


def open_prompts(prompts: str) -> Iterator[tuple[str, OpenFile]]:
    """Yield (name, unopened file) for every file of the prompts, sorted by name.

    Raises RecipeError and InputError.
    """
    where = parse_hub_prompts(prompts)
    with _readable_errors(where):
        files = _files_of(HfApi(), where, where.revision)
    # Address and token as arguments: fsspec caches file systems by their arguments.
    hub = HfFileSystem(endpoint=constants.ENDPOINT, token=get_token())
    for path in files:
        name = str(replace(where, path=path))
        key = name.removeprefix("hf://")
        yield name, OpenFile(hub, key, "rb", compression=get_compression(key, "infer"))


def _commits(hub: HfApi, where: HubPrompts, newest: str) -> Iterator[str]:
    """Commits to search for a split: the dataset's own, then that of the Hub's Parquet conversion."""
    yield newest
    if where.revision is not None:
        return
    try:
        yield hub.dataset_info(where.repository, revision=CONVERTED).sha
    except RevisionNotFoundError:
        return


def _list(hub: HfApi, where: HubPrompts, commit: str | None) -> list[str]:
    return sorted(hub.list_repo_files(where.repository, revision=commit, repo_type="dataset"))


def _files_of(hub: HfApi, where: HubPrompts, commit: str | None) -> list[str]:
    if where.path is not None:
        return [where.path]
    paths = [path for path in _list(hub, where, commit) if path.endswith(".parquet")]
    card = hub.dataset_info(where.repository, revision=commit).card_data
    for patterns in _patterns(card.get("configs") if card else None, where, paths):
        tests = [re.compile(glob_translate(pattern)) for pattern in patterns]
        if found := [path for path in paths if any(test.fullmatch(path) for test in tests)]:
            return found
    return []


def _patterns(configs: Any, where: HubPrompts, paths: Iterable[str]) -> Iterator[list[str]]:
    """Globs of a split's files, most reliable first: from the card, as `datasets` writes them, as the Hub converts."""
    configs = [config for config in configs or () if isinstance(config, dict)]
    if card_config := _config(configs, where.config):
        yield _globs_of_split(card_config.get("data_files"), where.split)
    if where.config in (None, "default"):
        yield [f"data/{where.split}-*.parquet"]
    folders = {path.partition("/")[0] for path in paths}
    config = where.config or ("default" if "default" in folders else min(folders) if len(folders) == 1 else None)
    if config:
        yield [f"{config}/{where.split}-*.parquet"]
        yield [f"{config}/{where.split}/*.parquet"]


def _config(configs: Sequence[Mapping[str, Any]], name: str | None) -> Mapping[str, Any] | None:
    if name is not None:
        return next((config for config in configs if config.get("config_name") == name), None)
    default = [config for config in configs if config.get("default") or config.get("config_name") == "default"]
    return default[0] if default else configs[0] if len(configs) == 1 else None


def _globs_of_split(data_files: Any, split: str) -> list[str]:
    """Globs in a card's ``data_files``: a text or a list of texts, all of them train, or a list of {split, path}."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    plain = [entry for entry in entries if isinstance(entry, str)] if split == "train" else []
    named = [entry.get("path") for entry in entries if isinstance(entry, dict) and entry.get("split") == split]
    globs = plain + [path for paths in named for path in (paths if isinstance(paths, list) else [paths])]
    return [glob for glob in globs if isinstance(glob, str) and glob.count("*") <= MAX_STARS]


@contextmanager
def _readable_errors(where: HubPrompts) -> Iterator[None]:
    name = f"recipe.prompts: the dataset {shown(where.repository)}"
    try:
        yield
    except GatedRepoError as error:
        raise RecipeError(
            f"{name} is gated. Accept its terms on its page and set HF_TOKEN to a token of that account."
        ) from error
    except RevisionNotFoundError as error:
        raise RecipeError(f"{name} has no revision {shown(where.revision)}.") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise RecipeError(
            f"{name} does not exist, or is private. Check the name, or set HF_TOKEN to a token with access."
        ) from error
    except HFValidationError as error:
        raise RecipeError(f"{name} is not a valid name: {one_line(error)}") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, httpx2.HTTPError) as error:
        raise InputError(
            f"{name} cannot be reached ({type(error).__name__}: {one_line(error)}). Connect and run this again, or "
            "download the file and name it."
        ) from error
