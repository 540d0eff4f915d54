"""Message that carries a job to a worker, with the versions and the folder that the worker must share."""

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
from imagemill.data.messages import shown_path
from imagemill.models.job import Job
from imagemill.models.score_job import ScoreJob

PACKAGES = ("imagemill", "torch", "diffusers", "transformers")
"""Packages whose versions decide how a job is unpickled and which pixels it gives."""

STAGING_TIMEOUT_S = 60.0
"""Seconds within which a worker must see the staging folder; NFS caches for up to 60 s that a name does not exist."""

STAGING_DELAY_S = 0.5
"""Seconds between two searches for it."""

MARK = "shared"
"""File in the staging folder that identifies it as the build's."""

_marking = threading.Lock()


WorkerJob = Job | ScoreJob
"""Work of a job: generate images, or score them."""


@dataclass(frozen=True, slots=True)
class JobMessage:
    """A job on its way to a worker, not unpickled before versions and staging folder match."""

    job: bytes
    staging: str
    mark: str
    """Content of the file MARK in the staging folder."""
    versions: Mapping[str, str]


@cache
def versions() -> Mapping[str, str]:
    """The versions in this process; torch's without its build (+cpu, +cu128), which may differ between machines."""
    found = {"python": "{}.{}".format(*sys.version_info)}
    for name in PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def pack(job: WorkerJob) -> JobMessage:
    """The job's message. Creates and marks its staging folder."""
    staging = Path(job.staging)
    staging.mkdir(parents=True, exist_ok=True)
    mark = staging / MARK
    # The build's process holds the folder's lock, but has many threads.
    with _marking:
        if not _read(mark):
            temporary = mark.with_suffix(".tmp")
            temporary.write_text(uuid4().hex)
            temporary.replace(mark)
    return JobMessage(pickle.dumps(job), job.staging, _read(mark), versions())


def unpack(message: JobMessage, timeout_s: float = STAGING_TIMEOUT_S) -> WorkerJob:
    """The message's job. Raises BuildFailed if this worker has other versions, or does not see the build's folder.

    A network file system may take a while to show a new folder.
    """
    here = versions()
    differing = [
        f"{name} {here.get(name)} (the build: {theirs})"
        for name, theirs in message.versions.items()
        if here[name] != theirs
    ]
    if differing:
        raise BuildFailed(
            f"the worker on {socket.gethostname()} has {', '.join(differing)}: other versions could give other pixels. "
            "Install the same versions on every machine (requirements.lock), then start the worker again."
        )
    mark, deadline = Path(message.staging) / MARK, time.monotonic() + timeout_s
    while _read(mark) != message.mark:
        if time.monotonic() > deadline:
            raise BuildFailed(
                f"the worker on {socket.gethostname()} does not see the build's folder {shown_path(message.staging)}: "
                "every "
                "machine of a cluster needs the output's file system, under the same path (for a dataset in object "
                "storage: that of IMAGEMILL_WORK)."
            )
        time.sleep(STAGING_DELAY_S)
    job: WorkerJob = pickle.loads(message.job)
    return job


def _read(mark: Path) -> str:
    try:
        return mark.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
