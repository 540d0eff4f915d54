"""Prompts in a dataset on the Hugging Face Hub: one file of it, or the Parquet files of one of its splits.

`hf://datasets/org/name/path.jsonl` is a file, `hf:org/name:config:split` a split, as DataFlow writes it; of either the
revision may be given after the name: `org/name@revision`.
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

from imagemill.data.errors import InputError, RecipeError

CONVERTED = "refs/convert/parquet"
"""Where the Hub itself keeps the datasets, of other formats, that it has turned into Parquet."""

_FILE = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>refs/\w+/[^/]+|[^/]+))?/(?P<path>.+)")
_SPLIT = re.compile(r"hf:(?P<repository>[^:@]+)(@(?P<revision>[^:]+))?(:(?P<config>[^:]+))??(:(?P<split>[^:]+))?")


@dataclass(frozen=True, slots=True)
class HubPrompts:
    """Where on the Hub prompts are: a file's ``path``, or a ``config`` (None: the default one) and ``split``."""

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
    """Whether recipe.prompts names something on the Hub."""
    return prompts.startswith("hf:")


def parse_hub_prompts(prompts: str) -> HubPrompts:
    """Read what recipe.prompts says. Raises RecipeError."""
    found = _FILE.fullmatch(prompts) or (None if prompts.startswith("hf://") else _SPLIT.fullmatch(prompts))
    if found is None:
        raise RecipeError(
            f"recipe.prompts is {prompts!r}: on the Hub it is hf://datasets/org/name/path for a file of a dataset, or "
            "hf:org/name:config:split for its Parquet files (hf:org/name:split for the default config)."
        )
    fields = {name: value for name, value in found.groupdict().items() if value is not None}
    return HubPrompts(**({"revision": None} | fields | {"revision": unquote(fields.get("revision", "")) or None}))


def pin_prompts(prompts: str) -> str:
    """The same prompts at the commit that they are at now. Raises RecipeError and InputError."""
    where, hub = parse_hub_prompts(prompts), HfApi()
    with _explain(where):
        commit = hub.dataset_info(where.repository, revision=where.revision).sha
        for found in _commits(hub, where, commit):
            if _files_of(hub, where, found):
                return str(replace(where, revision=found))
        there = [path for path in _list(hub, where, commit) if path.endswith(".parquet")]
    which = f"split {where.split!r}" + (f" of config {where.config!r}" if where.config else "")
    has = f"it has {', '.join(there[:5])}" if there else "it has no Parquet file"
    raise InputError(
        f"recipe.prompts: the dataset {where.repository!r} at {commit[:12]} names no Parquet files for {which}; {has}. "
        f"Name a file itself: hf://datasets/{where.repository}/path."
    )


def open_prompts(prompts: str) -> Iterator[tuple[str, OpenFile]]:
    """Yield (name, file not yet opened) for every file that the prompts are in, in order of their names.

    Raises RecipeError and InputError.
    """
    where = parse_hub_prompts(prompts)
    with _explain(where):
        files = _files_of(HfApi(), where, where.revision)
    # Told by its address and token, since fsspec gives equal arguments the same object again.
    hub = HfFileSystem(endpoint=constants.ENDPOINT, token=get_token())
    for path in files:
        name = str(replace(where, path=path))
        key = name.removeprefix("hf://")
        yield name, OpenFile(hub, key, "rb", compression=get_compression(key, "infer"))


def _commits(hub: HfApi, where: HubPrompts, newest: str) -> Iterator[str]:
    """The commits in which a split is looked for: the dataset's own, then the Hub's Parquet files of it."""
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
    """Globs of a split's files, the surest first: the card's own, what `datasets` writes, what the Hub converts to."""
    configs = [one for one in configs or () if isinstance(one, dict)]
    if chosen := _config(configs, where.config):
        yield _of_split(chosen.get("data_files"), where.split)
    if where.config in (None, "default"):
        yield [f"data/{where.split}-*.parquet"]
    folders = {path.partition("/")[0] for path in paths}
    config = where.config or ("default" if "default" in folders else min(folders) if len(folders) == 1 else None)
    if config:
        yield [f"{config}/{where.split}-*.parquet"]
        yield [f"{config}/{where.split}/*.parquet"]


def _config(configs: Sequence[Mapping[str, Any]], name: str | None) -> Mapping[str, Any] | None:
    if name is not None:
        return next((one for one in configs if one.get("config_name") == name), None)
    default = [one for one in configs if one.get("default") or one.get("config_name") == "default"]
    return default[0] if default else configs[0] if len(configs) == 1 else None


def _of_split(data_files: Any, split: str) -> list[str]:
    """The globs of a card's ``data_files``: a text, a list of texts (then all is train), or of {split, path}."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    plain = [one for one in entries if isinstance(one, str)] if split == "train" else []
    named = [one.get("path") for one in entries if isinstance(one, dict) and one.get("split") == split]
    return plain + [path for one in named for path in (one if isinstance(one, list) else [one]) if path]


@contextmanager
def _explain(where: HubPrompts) -> Iterator[None]:
    name = f"recipe.prompts: the dataset {where.repository!r}"
    try:
        yield
    except GatedRepoError as error:
        raise RecipeError(
            f"{name} is gated. Accept its terms on its page, and put a token of that account into HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise RecipeError(f"{name} has no revision {where.revision!r}.") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise RecipeError(
            f"{name} is none that you may see. Check its name; for a private one put a token with access into HF_TOKEN."
        ) from error
    except HFValidationError as error:
        raise RecipeError(f"{name} cannot be: {' '.join(str(error).split())[:200]}") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, httpx2.HTTPError) as error:
        raise InputError(
            f"{name} cannot be asked for ({type(error).__name__}: {' '.join(str(error).split())[:200]}). Connect and "
            "run this again, or download the file and name it."
        ) from error
