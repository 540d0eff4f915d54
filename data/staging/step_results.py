"""Store of step results: the report of a finished step of a shard, which the build after a kill takes over.

A result is a JSON file that is checked when it is read. A file that fails the check counts as missing, and its step
runs again: that generates only what is not staged, so that nothing is lost. The folder may be from someone else, and
the names can be computed: nothing here is ever unpickled, and no class is imported by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.data.messages import MAX_REASON
from imagemill.data.records import Failure, StepReport, WorkerStats

MAX_BYTES = 4 * 2**20
"""Largest result that is read: about ten thousand failures."""


_NAME = re.compile(r"[a-z]+-[0-9a-f]{32}[.]json")


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _StoredFailure(_Checked):
    reason: Annotated[str, Field(max_length=MAX_REASON)]
    attempts: Annotated[int, Field(ge=1, le=1_000_000)]


class _StoredResult(_Checked):
    key: str
    device: Annotated[str, Field(max_length=200)] | None
    failed: dict[str, _StoredFailure]
    """Image key -> why that image could not be generated."""


class StepResults:
    """The step results in one dataset's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str, images: Collection[str]) -> StepReport | None:
        """The report of the finished step ``key`` over these image keys; None if there is none that can be used.

        All images that did not fail count as reused.
        """
        try:
            with open(self._path(key), "rb") as file:
                content = file.read(MAX_BYTES + 1)
            stored = _StoredResult.model_validate_json(content) if len(content) <= MAX_BYTES else None
        except (OSError, ValidationError):
            return None
        if stored is None or stored.key != key or not stored.failed.keys() <= set(images):
            return None
        failed = {image: Failure(failure.reason, failure.attempts) for image, failure in stored.failed.items()}
        reused = len(images) - len(failed)
        return StepReport(reused=reused, failed=failed, stats=WorkerStats(device=stored.device))

    def put(self, key: str, report: StepReport) -> None:
        """Store the report of a finished step."""
        failed = {
            image: _StoredFailure(reason=failure.reason[:MAX_REASON], attempts=failure.attempts)
            for image, failure in report.failed.items()
        }
        stored = _StoredResult(key=key, device=report.device and report.device[:200], failed=failed)
        self.folder.mkdir(parents=True, exist_ok=True)
        # Never under a name that a folder's author can foresee.
        temporary = self.folder / f"{uuid4().hex}.tmp"
        temporary.write_text(stored.model_dump_json(), encoding="utf-8")
        temporary.replace(self._path(key))

    def remove_others(self) -> None:
        """Delete, unread, the files that are no results: version 0.1.0 kept pickles here."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if not _NAME.fullmatch(path.name) and not path.is_dir():
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
