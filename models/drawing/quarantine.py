"""Rows that were being generated when a worker process ended: generated one at a time, and set aside if that ends it again."""

from __future__ import annotations

from collections.abc import Sequence

from imagemill.data.errors import BuildFailed
from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.in_flight import WorkerCrash, strikes
from imagemill.models.job import Job

MAX_CRASHES = 3
"""Processes that a row may end, the first time with its whole batch, before it is set aside."""


def split_suspects(
    job: Job, missing: Sequence[Drawing], crashes: Sequence[WorkerCrash], failed: dict[str, Failure]
) -> tuple[list[Drawing], list[Drawing]]:
    """The drawings that may go in batches, and those that must be generated one at a time; the worst go into ``failed``.

    Raises BuildFailed where the processes end whatever they do.
    """
    counts, last = strikes(crashes), crashes[-1].reason if crashes else ""
    if sum(not crash.keys for crash in crashes) >= MAX_CRASHES:
        raise BuildFailed(
            f"{MAX_CRASHES} worker processes ended while they loaded the model {job.spec.name!r}: {last}. See whether "
            "it fits into the machine's memory and the GPU's."
        )
    culprits = [one for one in missing if counts[one.key] >= MAX_CRASHES]
    if len(culprits) >= MAX_CRASHES and len(missing) == len(job.drawings):
        raise BuildFailed(
            f"{len(crashes)} worker processes ended while they drew with the model {job.spec.name!r}, whatever the "
            f"row, and not one image was finished: {last}. See whether the device works."
        )
    for one in culprits:
        reason = next(crash.reason for crash in reversed(crashes) if one.key in crash.keys)
        failed[one.key] = Failure(
            f"{counts[one.key]} worker processes ended while it was generated: {reason}", counts[one.key]
        )
    rest = [one for one in missing if one.key not in failed]
    return [one for one in rest if not counts[one.key]], [one for one in rest if counts[one.key]]
