"""What travels to a worker: a job, and what the worker must agree on before it may look at it."""

from __future__ import annotations

import pickle
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from imagemill.data.errors import BuildFailed
from imagemill.models.job import Job

PACKAGES = ("imagemill", "torch", "diffusers", "transformers")
"""What decides how a job is read and which pixels come of it."""

SEEN_WITHIN = 60.0
"""Seconds within which a new file is seen on every machine; NFS remembers for up to 60 that a name was not there."""

MARK = "shared"
"""File in the folder of the staged images by which a worker knows that it is the build's own."""

_marking = threading.Lock()


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job under way to a worker, unread until the worker has the same versions and the same folder."""

    job: bytes
    staging: str
    mark: str
    """What the staging's file MARK holds."""
    versions: Mapping[str, str]


@cache
def versions() -> Mapping[str, str]:
    """The versions of this process; torch's without its build (+cpu, +cu128), in which machines may differ."""
    found = {"python": "{}.{}".format(*sys.version_info)}
    for name in PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def pack(job: Job) -> Parcel:
    """The job's parcel. Makes and marks the folder of its staged images."""
    staging = Path(job.staging)
    staging.mkdir(parents=True, exist_ok=True)
    mark = staging / MARK
    # One process at a time holds a build's folder, with many threads.
    with _marking:
        if not _read(mark):
            made = mark.with_suffix(".tmp")
            made.write_text(uuid4().hex)
            made.replace(mark)
    return Parcel(pickle.dumps(job), job.staging, _read(mark), versions())


def unpack(parcel: Parcel, within: float = SEEN_WITHIN) -> Job:
    """The parcel's job. Raises BuildFailed where this worker's versions differ, or it does not see the build's folder.

    A network's file system may take a while to show a new folder: ``within`` seconds are waited for it.
    """
    here = versions()
    differ = [
        f"{name} {here.get(name)} (the build: {one})" for name, one in parcel.versions.items() if here[name] != one
    ]
    if differ:
        raise BuildFailed(
            f"the worker on {socket.gethostname()} has {', '.join(differ)}: with other versions other pixels would "
            "come. Install the same versions on every machine (requirements.lock), then start the worker again."
        )
    mark, deadline = Path(parcel.staging) / MARK, time.monotonic() + within
    while _read(mark) != parcel.mark:
        if time.monotonic() > deadline:
            raise BuildFailed(
                f"the worker on {socket.gethostname()} does not see the build's folder {parcel.staging!r}: every "
                "machine of a cluster needs the output's file system, under the same path (for a dataset in object "
                "storage: that of IMAGEMILL_WORK)."
            )
        time.sleep(0.5)
    return pickle.loads(parcel.job)


def _read(mark: Path) -> str:
    try:
        return mark.read_text()
    except FileNotFoundError:
        return ""
