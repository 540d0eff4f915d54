"""Quarantine of suspects: images that were in flight when a worker process ended.

They are generated or scored one at a time, and set aside if the process ends again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagemill.data.errors import BuildFailed
from imagemill.data.messages import shown
from imagemill.data.records import Failure
from imagemill.data.staging.in_flight import WorkerCrash, strikes

MAX_CRASHES = 3
"""Processes that a row may crash, the first time with its whole batch, before it is set aside."""


@dataclass(frozen=True, slots=True)
class Work:
    """Words for a job's work in messages."""

    model: str
    done: str = "generated"
    """Past participle of what is done with the model."""


def split_suspects(
    work: Work,
    missing: Sequence[str],
    none_finished: bool,
    crashes: Sequence[WorkerCrash],
    failed: dict[str, Failure],
) -> tuple[list[str], list[str]]:
    """Keys for batches, and suspects to take one at a time; those with MAX_CRASHES go into ``failed``.

    ``missing``: keys of what is to do; ``none_finished``: whether that is all of the job. Raises BuildFailed where the
    processes end whatever they do.
    """
    counts, last = strikes(crashes), crashes[-1].reason if crashes else ""
    if sum(not crash.keys for crash in crashes) >= MAX_CRASHES:
        raise BuildFailed(
            f"{MAX_CRASHES} worker processes ended while they loaded the model {shown(work.model)}: {last}. Check "
            "that "
            "it fits into the machine's memory and the GPU's."
        )
    culprits = [key for key in missing if counts[key] >= MAX_CRASHES]
    if len(culprits) >= MAX_CRASHES and none_finished:
        raise BuildFailed(
            f"{len(crashes)} worker processes ended while they {work.done} with the model {shown(work.model)}, "
            "whatever "
            f"the row, and not one image was finished: {last}. Check that the device works."
        )
    for key in culprits:
        reason = next(crash.reason for crash in reversed(crashes) if key in crash.keys)
        failed[key] = Failure(f"{counts[key]} worker processes ended while it was {work.done}: {reason}", counts[key])
    rest = [key for key in missing if key not in failed]
    return [key for key in rest if not counts[key]], [key for key in rest if counts[key]]
