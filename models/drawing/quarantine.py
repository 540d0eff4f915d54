"""Quarantine of suspects: rows that were in flight when a worker process ended.

They are generated one at a time, and set aside if the process ends again.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagemill.data.errors import BuildFailed
from imagemill.data.messages import shown
from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.in_flight import WorkerCrash, strikes
from imagemill.models.job import Job

MAX_CRASHES = 3
"""Processes that a row may crash, the first time with its whole batch, before it is set aside."""


def split_suspects(
    job: Job, missing: Sequence[Drawing], crashes: Sequence[WorkerCrash], failed: dict[str, Failure]
) -> tuple[list[Drawing], list[Drawing]]:
    """Drawings for batches, and suspects to generate one at a time; those with MAX_CRASHES go into ``failed``.

    Raises BuildFailed where the processes end whatever they generate.
    """
    counts, last = strikes(crashes), crashes[-1].reason if crashes else ""
    if sum(not crash.keys for crash in crashes) >= MAX_CRASHES:
        raise BuildFailed(
            f"{MAX_CRASHES} worker processes ended while they loaded the model {shown(job.spec.name)}: {last}. Check "
            "that "
            "it fits into the machine's memory and the GPU's."
        )
    culprits = [drawing for drawing in missing if counts[drawing.key] >= MAX_CRASHES]
    if len(culprits) >= MAX_CRASHES and len(missing) == len(job.drawings):
        raise BuildFailed(
            f"{len(crashes)} worker processes ended while they generated with the model {shown(job.spec.name)}, "
            "whatever "
            f"the row, and not one image was finished: {last}. Check that the device works."
        )
    for drawing in culprits:
        count = counts[drawing.key]
        reason = next(crash.reason for crash in reversed(crashes) if drawing.key in crash.keys)
        failed[drawing.key] = Failure(f"{count} worker processes ended while it was generated: {reason}", count)
    rest = [drawing for drawing in missing if drawing.key not in failed]
    return [item for item in rest if not counts[item.key]], [item for item in rest if counts[item.key]]
