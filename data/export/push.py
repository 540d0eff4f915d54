"""Push of a finished dataset to the Hugging Face Hub: uploads the files that differ and publishes them in one commit.

The Hub identifies files by their sha256, so that an interrupted push sends no file twice.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
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

from imagemill.data.dataset.files.area import DATA, EXTRAS, files_of
from imagemill.data.dataset.files.shard_files import is_data_path
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import find_finished
from imagemill.data.errors import DatasetDiffers, NotAnImagemillDataset, RecipeError, UploadFailed, one_line
from imagemill.data.export.part import pages_of_part
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.locations import hash_file
from imagemill.data.storage.scratch import scratch_folder

Emit = Callable[[int, int], None]
"""(bytes sent, bytes to send) -> None"""

_MADE_BY_THE_HUB = {".gitattributes", "README.md"}


@dataclass(frozen=True, slots=True)
class Pushed:
    """Result of a push."""

    repository: str
    url: str
    """Of the dataset's page."""
    commit: str
    rows: int
    sent: int
    """Files that differed and were sent."""
    bytes: int
    """Size of these files."""
    removed: int
    """Files of an earlier push that the dataset no longer has."""


def push(
    output: str | Path,
    repository: str,
    public: bool = False,
    emit: Emit = lambda sent, total: None,
    beside: Collection[str] = (),
) -> Pushed:
    """Push the finished dataset at ``output`` into the dataset repository 'org/name', which is created if necessary.

    ``beside``: its other folders that are pushed too (data.dataset.files.area.EXTRAS); card and manifest there list
    only the pushed files.
    A new repository is private unless ``public``; an existing one keeps its visibility. The token is HF_TOKEN, or that
    of the Hub's own login. Raises RecipeError without a token or for an invalid name, NotAnImagemillDataset if the
    repository holds something else, OutputError for a damaged dataset, UploadFailed if the Hub refuses the push or
    cannot be reached.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise RecipeError(f"the repository is {shown(repository)}: give it as org/name, such as your-name/animals.")
    if unknown := sorted(set(beside) - set(EXTRAS)):
        raise RecipeError(f"--with: the dataset has no folder {shown(unknown[0])}; it can be {', '.join(EXTRAS)}.")
    folder, manifest = find_finished(output)
    # A link would publish a file from elsewhere.
    folder.check_contents(links=False)
    token = get_token()
    if not token:
        raise RecipeError(
            "there is no token for the Hub: set HF_TOKEN to one with write access, or log in with `hf auth login`."
        )
    disable_progress_bars()
    hub = HfApi(token=token)
    with _explain(repository), TemporaryDirectory(prefix="push-", dir=scratch_folder()) as scratch:
        hub.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        head = hub.dataset_info(repository).sha
        tree = hub.list_repo_tree(repository, recursive=True, revision=head, repo_type="dataset")
        on_hub = {file.path: file for file in tree if isinstance(file, RepoFile)}
        _check_owner(hub, repository, head, manifest["recipe"]["name"], on_hub, Path(scratch))
        pages = pages_of_part(folder, manifest, beside)
        small = [
            CommitOperationAdd(name, content)
            for name, content in pages.items()
            if name not in on_hub or not _is_equal(on_hub[name], content)
        ]
        listed = {
            f"{name}/{file['name']}": file
            for name in (DATA, *EXTRAS)
            if name in (DATA, *beside)
            for file in files_of(manifest, name)
        }
        large = {path: file for path, file in listed.items() if _hub_sha256(on_hub, path) != file["sha256"]}
        removed = [CommitOperationDelete(path) for path in on_hub if _is_ours(path) and path not in listed]
        sent, total = 0, sum(file["bytes"] for file in large.values())
        operations = [*removed, *small]
        for path, file in large.items():
            emit(sent, total)
            operations.append(_upload(hub, repository, folder, path, file, Path(scratch)))
            sent += file["bytes"]
        commit = head
        if operations:
            message = f"{manifest['rows']:,} rows, fingerprint {manifest['fingerprint'][:12]}"
            # Of two concurrent pushes the Hub refuses the second, so that they never mix.
            commit = hub.create_commit(
                repository, operations, commit_message=message, repo_type="dataset", parent_commit=head
            ).oid
        emit(total, total)
    size = total + sum(file.upload_info.size for file in small)
    url = f"{hub.endpoint}/datasets/{repository}"
    return Pushed(repository, url, commit, manifest["rows"], len(small) + len(large), size, len(removed))


def _check_owner(
    hub: HfApi, repository: str, head: str, name: str, on_hub: Mapping[str, RepoFile], scratch: Path
) -> None:
    """Raise NotAnImagemillDataset if the push would overwrite another dataset, or other files."""
    if "manifest.json" in on_hub:
        path = hub.hf_hub_download(repository, "manifest.json", repo_type="dataset", revision=head, local_dir=scratch)
        owner = _name_in(Path(path).read_bytes())
        if owner != name:
            raise NotAnImagemillDataset(
                f"the repository {shown(repository)} holds the dataset {shown(owner)}, and this one is {shown(name)}; "
                "nothing in it "
                "was touched. Push to another repository."
            )
    elif others := sorted(set(on_hub) - _MADE_BY_THE_HUB):
        raise NotAnImagemillDataset(
            f"the repository {shown(repository)} holds files of no imagemill dataset ({', '.join(others[:3])}); "
            "nothing in "
            "it was touched. Push to another repository, or empty that one."
        )


def _name_in(manifest: bytes) -> Any:
    """The name in the recipe of a manifest, if it has one."""
    try:
        return json.loads(manifest)["recipe"]["name"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None


def _is_ours(path: str) -> bool:
    """True if a file in the repository is one that a push has put there."""
    return any(is_data_path(path, name) for name in (DATA, *EXTRAS))


def _is_equal(file: RepoFile, content: bytes) -> bool:
    if file.lfs:
        return file.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return file.blob_id == git_hash(content)


def _hub_sha256(on_hub: Mapping[str, RepoFile], path: str) -> str | None:
    file = on_hub.get(path)
    return file.lfs.sha256 if file and file.lfs else None


def _upload(
    hub: HfApi, repository: str, folder: Folder, name: str, file: Mapping[str, Any], scratch: Path
) -> CommitOperationAdd:
    """Send the file at ``name`` below the dataset's folder, invisible before the commit.

    Raises DatasetDiffers if it is not the manifest's.
    """
    path = folder.root / name
    if not path.exists() or hash_file(path) != file["sha256"]:
        raise DatasetDiffers(
            f"{shown_path(path)} is missing, or not the file that manifest.json names; nothing was published. "
            "`imagemill verify` lists all faults, and `imagemill build` with the dataset's recipe repairs it."
        )
    if isinstance(path, Path):
        addition = CommitOperationAdd(name, path)
        hub.preupload_lfs_files(repository, [addition], repo_type="dataset", free_memory=False)
        return addition
    local = scratch / file["name"]
    with path.open() as source, open(local, "wb") as target:
        shutil.copyfileobj(source, target, 16 * 2**20)
    addition = CommitOperationAdd(name, local)
    hub.preupload_lfs_files(repository, [addition], repo_type="dataset")
    if addition.path_or_fileobj == b"":
        # The Hub has it; the next file needs the disk space.
        local.unlink()
    return addition


@contextmanager
def _explain(repository: str) -> Iterator[None]:
    again = "Files that have arrived are not sent again: push again to continue."
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise UploadFailed("HF_HUB_OFFLINE is set, so nothing is sent: unset it and push again.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = one_line(error.server_message or error)
        hint = {
            401: "The Hub does not know the token: give another in HF_TOKEN.",
            403: f"The token has no write access to {shown(repository)}: give one that has in HF_TOKEN.",
            412: "The repository has changed in the meantime. " + again,
        }.get(status, again)
        raise UploadFailed(
            f"the Hub refused the push to {shown(repository)} (HTTP {status}: {reason}). {hint}"
        ) from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
        raise UploadFailed(f"the push to {shown(repository)} broke off ({reason}). {again}") from error
