"""Where files lie: a path on this machine, or a name in an object store that fsspec knows (s3://, gs://, ...).

A RemotePath has as much of a Path as a dataset's folder needs, so that the code that reads one reads both. An object
store's put is atomic: an object is there wholly or not at all, so no rename is needed, and there is none.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import fsspec
from fsspec.core import url_to_fs

from imagemill.data.errors import OutputError

_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "last_modified", "mtime", "created")
"""What fsspec's file systems call that which changes with an object's content, the surest first."""

_CREDENTIALS = {
    "s3": " (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for another server than Amazon's "
    "AWS_ENDPOINT_URL)",
    "gs": " (GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login)",
}
"""Where a store's client looks for them, by protocol."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder of an fsspec file system. Making the object asks nothing of it."""

    key: str
    """Its name there, without the protocol."""
    fs: fsspec.AbstractFileSystem = field(compare=False, repr=False)
    listed: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """What the listing said that it was found in."""

    def __str__(self) -> str:
        return self.fs.unstrip_protocol(self.key)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.key.rstrip('/')}/{name}", self.fs)

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.key.rstrip("/").rsplit("/", 1)[-1]

    def exists(self) -> bool:
        """Whether there is such a file, or anything below such a folder."""
        return self._info() is not None

    def is_dir(self) -> bool:
        """Whether there is anything below this name."""
        info = self._info()
        return info is not None and info["type"] == "directory"

    def iterdir(self) -> Iterator[RemotePath]:
        """What lies directly below, by name; nothing where nothing does."""
        found: list[dict[str, Any]] = []
        with _explained(self), suppress(FileNotFoundError):
            found = self.fs.ls(self.key, detail=True)
        # Some tools put an empty object in the folder's own name.
        below = [info for info in found if info["name"].strip("/") != self.key.strip("/")]
        yield from sorted(RemotePath(info["name"].rstrip("/"), self.fs, info) for info in below)

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """What lies directly below with a name that fits."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file, seekable; what is read is asked for as it is read, and not more. Raises FileNotFoundError."""
        with _explained(self):
            # No read-ahead: a reader of a few columns would otherwise fetch all the images beside them.
            return self.fs.open(self.key, mode, cache_type="none")

    def read_bytes(self) -> bytes:
        """The whole content. Raises FileNotFoundError."""
        with _explained(self):
            return self.fs.cat_file(self.key)

    def put(self, local: Path) -> None:
        """Take a local file's content as a whole, in place of what was there."""
        with _explained(self, writing=True):
            self.fs.put_file(str(local), self.key)

    def write_bytes(self, content: bytes) -> None:
        """Put a small file, in place of what was there."""
        with _explained(self, writing=True):
            self.fs.pipe_file(self.key, content)

    def create(self, content: bytes) -> None:
        """Put a small file only where there is none (a conditional put). Raises FileExistsError."""
        with _explained(self, writing=True):
            try:
                self.fs.pipe_file(self.key, content, mode="create")
            except OSError as error:
                # Not every store's refusal arrives as FileExistsError.
                if isinstance(error, FileNotFoundError) or not self.exists():
                    raise
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self)) from error

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with _explained(self):
                self.fs.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def size_and_version(self) -> tuple[int, dict[str, Any]]:
        """As ``size_and_version``."""
        info = self.listed or self._info()
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        # Where the store says nothing of the kind, no version is known twice and sha256 decides.
        version = next((info[name] for name in _VERSIONS if info.get(name)), uuid4().hex)
        # A listing may tell in seconds what a single file's facts tell as a date.
        version = version.timestamp() if isinstance(version, datetime) else version
        return info["size"], {"version": f"{version:.3f}" if isinstance(version, float) else str(version)}

    def _info(self) -> dict[str, Any] | None:
        with _explained(self), suppress(FileNotFoundError):
            return self.fs.info(self.key)
        return None


Location = Path | RemotePath


def locate(output: str | Path) -> Location:
    """Where a dataset's folder is: a Path, or a RemotePath for a URL. Raises OutputError for an unknown protocol."""
    if not is_remote(output):
        return Path(str(output).removeprefix("file://"))
    try:
        # What others put or removed a moment ago counts: listings are never taken from memory.
        fs, key = url_to_fs(str(output), use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise OutputError(
            f"recipe.output is {str(output)!r}, which cannot be opened: {error}. Give a folder, or a URL that fsspec "
            "knows: s3:// needs the package s3fs (pip install 'imagemill[s3]'), gs:// gcsfs ('imagemill[gcs]')."
        ) from error
    if not key.strip("/"):
        raise OutputError(f"recipe.output is {str(output)!r}, which names no bucket. Give it as s3://bucket/name.")
    return RemotePath(key.rstrip("/"), fs)


def is_remote(output: str | Path) -> bool:
    """Whether an output is a URL of something else than this machine's files."""
    return isinstance(output, str) and "://" in output and not output.startswith("file://")


def work_folder(remote: RemotePath) -> Path:
    """Where a remote dataset's build keeps its work on this machine: below IMAGEMILL_WORK, else in the user's cache."""
    home = os.environ.get("IMAGEMILL_WORK")
    base = Path(home).expanduser() if home else Path.home() / ".cache" / "imagemill"
    return base / f"{remote.name[:60]}-{hashlib.sha256(str(remote).encode()).hexdigest()[:16]}"


def size_and_version(path: Location) -> tuple[int, dict[str, Any]]:
    """A file's size in bytes, and what changes with its content: time of change, or the store's version of it."""
    if isinstance(path, RemotePath):
        return path.size_and_version()
    stat = path.stat()
    return stat.st_size, {"mtime_ns": stat.st_mtime_ns}


def arrow_source(path: Location) -> Path | BinaryIO:
    """What pyarrow opens: a path as it is, so that it is read as fast as can be, or an open remote file."""
    return path if isinstance(path, Path) else path.open()


def hash_file(path: Location) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        if isinstance(path, Path):
            return hashlib.file_digest(file, "sha256").hexdigest()
        sha256 = hashlib.sha256()
        # Each read is a request: few large ones.
        while block := file.read(16 * 2**20):
            sha256.update(block)
        return sha256.hexdigest()


@contextmanager
def _explained(path: RemotePath, writing: bool = False) -> Iterator[None]:
    """Turn what a store's client raises into one clear OutputError, but for a file that is missing, or there."""
    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        if not writing:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise OutputError(
            f"cannot write {str(path)!r}: there is no such bucket ({_one_line(error)}). Make the bucket, or give "
            "recipe.output another one."
        ) from error
    # Every store's client has errors of its own, and few of them are an OSError.
    except Exception as error:
        raise OutputError(
            f"cannot {'write' if writing else 'read'} {str(path)!r}: {_one_line(error)}. Check the name, the "
            f"credentials{_CREDENTIALS.get(str(path).partition('://')[0], '')} and what they may do, and run this "
            "again: what is finished is kept."
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
