"""Rows that were being drawn when a worker process ended: drawn one at a time, and set aside if that ends it again."""

from __future__ import annotations

from collections.abc import Sequence

from imagemill.data.errors import BuildFailed
from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.in_flight import Ending, strikes
from imagemill.models.job import Job

MOST_ENDINGS = 3
"""Processes that a row may end, the first time with its whole batch, before it is set aside."""


def sort_out(
    job: Job, missing: Sequence[Drawing], endings: Sequence[Ending], failed: dict[str, Failure]
) -> tuple[list[Drawing], list[Drawing]]:
    """The drawings that may go in batches, and those that must be drawn one at a time; the worst go into ``failed``.

    Raises BuildFailed where the processes end whatever they do.
    """
    counts, last = strikes(endings), endings[-1].reason if endings else ""
    if sum(not ending.keys for ending in endings) >= MOST_ENDINGS:
        raise BuildFailed(
            f"{MOST_ENDINGS} worker processes ended while they loaded the model {job.spec.name!r}: {last}. See whether "
            "it fits into the machine's memory and the GPU's."
        )
    culprits = [one for one in missing if counts[one.key] >= MOST_ENDINGS]
    if len(culprits) >= MOST_ENDINGS and len(missing) == len(job.drawings):
        raise BuildFailed(
            f"{len(endings)} worker processes ended while they drew with the model {job.spec.name!r}, whatever the "
            f"row, and not one picture was finished: {last}. See whether the device works."
        )
    for one in culprits:
        reason = next(ending.reason for ending in reversed(endings) if one.key in ending.keys)
        failed[one.key] = Failure(
            f"{counts[one.key]} worker processes ended while it was drawn: {reason}", counts[one.key]
        )
    rest = [one for one in missing if one.key not in failed]
    return [one for one in rest if not counts[one.key]], [one for one in rest if counts[one.key]]
