"""Push a finished dataset to the Hugging Face Hub: the files that differ, made visible there by one commit.

The Hub knows what it has by its sha256, so that a push that was interrupted sends no file twice.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils.sha import git_hash

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import find_finished
from imagemill.data.dataset.shard_files import is_data_path
from imagemill.data.errors import DatasetDiffers, NotAnImagemillDataset, RecipeError, UploadFailed
from imagemill.data.storage.locations import hash_file

Emit = Callable[[int, int], None]
"""(bytes sent, bytes to send) -> None"""

_MADE_BY_THE_HUB = {".gitattributes", "README.md"}


@dataclass(frozen=True, slots=True)
class Pushed:
    """A dataset that is on the Hub."""

    repository: str
    url: str
    """Of the dataset's page."""
    commit: str
    rows: int
    sent: int
    """Files that differed, and were sent."""
    bytes: int
    """What these hold."""
    removed: int
    """Files of an earlier push that the dataset no longer has."""


def push(output: str | Path, repository: str, public: bool = False, emit: Emit = lambda sent, total: None) -> Pushed:
    """Push the finished dataset at ``output`` into the dataset repository 'org/name', making it where there is none.

    A new repository is private unless ``public``; one that is there stays as it is. The token is HF_TOKEN, or that of
    the Hub's own login. Raises RecipeError without a token or for a name that is none, NotAnImagemillDataset where the repository
    holds something else, OutputError for a damaged dataset, UploadFailed where the Hub refuses or cannot be reached.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise RecipeError(f"the repository is {repository!r}: give it as org/name, such as your-name/animals.")
    folder, manifest = find_finished(output)
    token = get_token()
    if not token:
        raise RecipeError(
            "there is no token for the Hub: put one that may write into HF_TOKEN, or log in with `hf auth login`."
        )
    disable_progress_bars()
    hub = HfApi(token=token)
    with _explain(repository), TemporaryDirectory(prefix="imagemill-push-") as scratch:
        hub.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        head = hub.dataset_info(repository).sha
        tree = hub.list_repo_tree(repository, recursive=True, revision=head, repo_type="dataset")
        there = {one.path: one for one in tree if isinstance(one, RepoFile)}
        _check_owner(hub, repository, head, manifest["recipe"]["name"], there, Path(scratch))
        small = [CommitOperationAdd(name, content) for name, content in _small_files(folder, there)]
        large = [file for file in manifest["files"] if _sha256_there(there, f"data/{file['name']}") != file["sha256"]]
        kept = {f"data/{file['name']}" for file in manifest["files"]}
        gone = [CommitOperationDelete(path) for path in there if is_data_path(path) and path not in kept]
        sent, total = 0, sum(file["bytes"] for file in large)
        operations = [*gone, *small]
        for file in large:
            emit(sent, total)
            operations.append(_upload(hub, repository, folder, file, Path(scratch)))
            sent += file["bytes"]
        commit = head
        if operations:
            message = f"{manifest['rows']:,} rows, fingerprint {manifest['fingerprint'][:12]}"
            # Of two that push at the same time the second is refused, and nothing is mixed.
            commit = hub.create_commit(
                repository, operations, commit_message=message, repo_type="dataset", parent_commit=head
            ).oid
        emit(total, total)
    size = total + sum(one.upload_info.size for one in small)
    url = f"{hub.endpoint}/datasets/{repository}"
    return Pushed(repository, url, commit, manifest["rows"], len(small) + len(large), size, len(gone))


def _check_owner(
    hub: HfApi, repository: str, head: str, name: str, there: Mapping[str, RepoFile], scratch: Path
) -> None:
    """Raises NotAnImagemillDataset where a push would put one dataset over another, or over files of somebody's own."""
    if "manifest.json" in there:
        path = hub.hf_hub_download(repository, "manifest.json", repo_type="dataset", revision=head, local_dir=scratch)
        said = json.loads(Path(path).read_bytes())
        owner = said.get("recipe", {}).get("name") if isinstance(said, dict) else None
        if owner != name:
            raise NotAnImagemillDataset(
                f"the repository {repository!r} holds the dataset {owner!r}, and this one is {name!r}; nothing in it "
                "was touched. Push to another repository."
            )
    elif others := sorted(set(there) - _MADE_BY_THE_HUB):
        raise NotAnImagemillDataset(
            f"the repository {repository!r} holds files that are no dataset of imagemill's ({', '.join(others[:3])}); "
            "nothing in it was touched. Push to another repository, or empty that one."
        )


def _small_files(folder: Folder, there: Mapping[str, RepoFile]) -> Iterator[tuple[str, bytes]]:
    """The card, its contact sheet and the manifest, as far as they differ."""
    for path in (folder.card, folder.contact_sheet, folder.manifest):
        if path.exists():
            content, one = path.read_bytes(), there.get(path.name)
            is_there = one is not None and (
                one.lfs.sha256 == hashlib.sha256(content).hexdigest() if one.lfs else one.blob_id == git_hash(content)
            )
            if not is_there:
                yield path.name, content


def _sha256_there(there: Mapping[str, RepoFile], path: str) -> str | None:
    one = there.get(path)
    return one.lfs.sha256 if one and one.lfs else None


def _upload(hub: HfApi, repository: str, folder: Folder, file: Mapping[str, Any], scratch: Path) -> CommitOperationAdd:
    """Send one data file; nobody sees it before the commit. Raises DatasetDiffers where it is not the manifest's."""
    path = folder.data / file["name"]
    if not path.exists() or hash_file(path) != file["sha256"]:
        raise DatasetDiffers(
            f"{str(path)!r} is missing, or not the file that manifest.json names; nothing was made visible. "
            "`imagemill verify` says more, and `imagemill build` with the dataset's recipe mends it."
        )
    if isinstance(path, Path):
        addition = CommitOperationAdd(f"data/{file['name']}", path)
        hub.preupload_lfs_files(repository, [addition], repo_type="dataset", free_memory=False)
        return addition
    local = scratch / file["name"]
    with path.open() as source, open(local, "wb") as target:
        shutil.copyfileobj(source, target, 16 * 2**20)
    addition = CommitOperationAdd(f"data/{file['name']}", local)
    hub.preupload_lfs_files(repository, [addition], repo_type="dataset")
    if addition.path_or_fileobj == b"":
        # The Hub has it, and the next one wants the room.
        local.unlink()
    return addition


@contextmanager
def _explain(repository: str) -> Iterator[None]:
    again = "What has arrived is not sent again: push again to go on."
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise UploadFailed("HF_HUB_OFFLINE is set, so nothing is sent: unset it and push again.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = error.server_message or " ".join(str(error).split())[:200]
        hint = {
            401: "The Hub does not know the token: give another in HF_TOKEN.",
            403: f"The token may not write to {repository!r}: give one that may in HF_TOKEN.",
            412: "Somebody else has changed the repository meanwhile. " + again,
        }.get(status, again)
        raise UploadFailed(f"the Hub refused the push to {repository!r} (HTTP {status}: {said}). {hint}") from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        why = error.__cause__ or error
        raise UploadFailed(
            f"the push to {repository!r} broke off ({type(why).__name__}: {' '.join(str(why).split())[:300]}). {again}"
        ) from error
