"""Locations of files: local paths, and paths in an object store by fsspec (s3://, gs://, ...).

A RemotePath has the part of Path's interface that a dataset's folder needs, so that the same code reads both. A put
into an object store is atomic, so there is no rename.
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

from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.storage.home import home_folder
from imagemill.data.storage.protocols import OUTPUTS, open_store, split_protocol, time_limit

_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "last_modified", "mtime", "created")
"""Names that fsspec's file systems have for an object's version, most reliable first."""

_CREDENTIALS = {
    "s3": " (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for another server than Amazon's "
    "AWS_ENDPOINT_URL)",
    "gs": " (GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login)",
}
"""Protocol -> where its client looks for credentials."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder of an fsspec file system. Creating the object makes no request."""

    key: str
    """Name without the protocol."""
    fs: fsspec.AbstractFileSystem = field(compare=False, repr=False)
    listed: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """Its entry in the listing that it is from."""

    def __str__(self) -> str:
        return self.fs.unstrip_protocol(self.key)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.key.rstrip('/')}/{name}", self.fs)

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.key.rstrip("/").rsplit("/", 1)[-1]

    def exists(self) -> bool:
        """True if there is a file of this name, or anything below it."""
        return self._info() is not None

    def is_dir(self) -> bool:
        """True if there is anything below this name."""
        info = self._info()
        return info is not None and info["type"] == "directory"

    def iterdir(self) -> Iterator[RemotePath]:
        """The files and folders directly below, by name; none for a missing folder."""
        listing: list[dict[str, Any]] = []
        with _explained(self), suppress(FileNotFoundError):
            listing = self.fs.ls(self.key, detail=True, **self._limit())
        # Some tools put an empty object with the folder's name.
        below = [info for info in listing if info["name"].strip("/") != self.key.strip("/")]
        yield from sorted(RemotePath(info["name"].rstrip("/"), self.fs, info) for info in below)

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """The files and folders directly below whose name matches."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file, seekable; only the bytes that are read are requested. Raises FileNotFoundError."""
        with _explained(self):
            # No read-ahead: a reader of a few columns would otherwise fetch all the images between them.
            return self.fs.open(self.key, mode, cache_type="none")

    def read_bytes(self) -> bytes:
        """The whole content. Raises FileNotFoundError."""
        with _explained(self):
            return self.fs.cat_file(self.key, **self._limit())

    def put(self, local: Path) -> None:
        """Upload a local file, replacing this one."""
        with _explained(self, writing=True):
            self.fs.put_file(str(local), self.key, **self._limit(local.stat().st_size))

    def write_bytes(self, content: bytes) -> None:
        """Write a small file, replacing this one."""
        with _explained(self, writing=True):
            self.fs.pipe_file(self.key, content, **self._limit(len(content)))

    def create(self, content: bytes) -> None:
        """Write a small file only if there is none (a conditional put). Raises FileExistsError."""
        with _explained(self, writing=True):
            try:
                self.fs.pipe_file(self.key, content, mode="create", **self._limit(len(content)))
            except OSError as error:
                # Not every store's refusal is a FileExistsError.
                if isinstance(error, FileNotFoundError) or not self.exists():
                    raise
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self)) from error

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with _explained(self):
                self.fs.rm_file(self.key, **self._limit())
        except FileNotFoundError:
            if not missing_ok:
                raise

    def size_and_version(self) -> tuple[int, dict[str, Any]]:
        """As ``size_and_version``."""
        info = self.listed or self._info()
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        # A store without versions gets a new one each time, so that sha256 decides.
        version = next((info[name] for name in _VERSIONS if info.get(name)), uuid4().hex)
        # A listing may have seconds where a single file's info has a date.
        version = version.timestamp() if isinstance(version, datetime) else version
        return info["size"], {"version": f"{version:.3f}" if isinstance(version, float) else str(version)}

    def _limit(self, size: int = 0) -> dict[str, float]:
        return time_limit(self.fs, size)

    def _info(self) -> dict[str, Any] | None:
        with _explained(self), suppress(FileNotFoundError):
            return self.fs.info(self.key, **self._limit())
        return None


Location = Path | RemotePath


def locate(output: str | Path) -> Location:
    """Location of a dataset's folder: a Path, or a RemotePath for a URL. Raises OutputError for another protocol."""
    try:
        protocol, location = split_protocol(str(output), OUTPUTS)
        if not protocol:
            return Path(location)
        # Listings are never cached: other machines add and remove files.
        fs, key = open_store(location, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise OutputError(
            f"recipe.output is {shown_path(output)}, which cannot be opened: {error}. Give a folder, or the URL of an "
            "object store: s3:// needs the package s3fs (pip install 'imagemill[s3]'), gs:// gcsfs ('imagemill[gcs]')."
        ) from error
    if not key.strip("/"):
        raise OutputError(f"recipe.output is {shown_path(output)}, which names no bucket. Give it as s3://bucket/name.")
    return RemotePath(key.rstrip("/"), fs)


def is_remote(location: str | Path) -> bool:
    """True if a location is a URL of anything but a local file or folder."""
    return isinstance(location, str) and "://" in location and location[:7].lower() != "file://"


def redact(location: str) -> str:
    """A location for messages: without query and user, which may contain signatures and passwords."""
    if not is_remote(location):
        return location
    protocol, _, rest = location.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0].partition('#')[0]}"


def work_folder(remote: RemotePath) -> Path:
    """Local work folder of a remote dataset's build: below IMAGEMILL_WORK, or in the user's cache."""
    home = os.environ.get("IMAGEMILL_WORK")
    base = Path(home).expanduser() if home else home_folder() / ".cache" / "imagemill"
    return base / f"{remote.name[:60]}-{hashlib.sha256(str(remote).encode()).hexdigest()[:16]}"


def size_and_version(path: Location) -> tuple[int, dict[str, Any]]:
    """A file's size in bytes, and its version: time of change, or the store's version."""
    if isinstance(path, RemotePath):
        return path.size_and_version()
    stat = path.stat()
    return stat.st_size, {"mtime_ns": stat.st_mtime_ns}


def arrow_source(path: Location) -> Path | BinaryIO:
    """The file for pyarrow: a local path, which it maps itself, or an open remote file."""
    return path if isinstance(path, Path) else path.open()


def hash_file(path: Location) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    if isinstance(path, Path):
        with path.open("rb") as local:
            return hashlib.file_digest(local, "sha256").hexdigest()
    sha256 = hashlib.sha256()
    with path.open("rb") as remote:
        # Each read is a request, so few large ones.
        while block := remote.read(16 * 2**20):
            sha256.update(block)
    return sha256.hexdigest()


@contextmanager
def _explained(path: RemotePath, writing: bool = False) -> Iterator[None]:
    """Turn a store client's exceptions into one clear OutputError, except FileNotFoundError and FileExistsError."""
    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        if not writing:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        raise OutputError(
            f"cannot write {shown_path(path)}: there is no such bucket ({_one_line(error)}). Make the bucket, or give "
            "recipe.output another one."
        ) from error
    # Each store's client has its own exceptions, and few of them are an OSError.
    except Exception as error:
        raise OutputError(
            f"cannot {'write' if writing else 'read'} {shown_path(path)}: {_one_line(error)}. Check the name, the "
            f"credentials{_CREDENTIALS.get(str(path).partition('://')[0], '')} and their permissions, and run this "
            "again: finished images are kept."
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
