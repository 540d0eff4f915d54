"""Guard of the rows' seeds: a call that reads a global generator has noise that no row's seed decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown


@contextmanager
def all_noise_is_seeded(pipeline: Any, model: str) -> Iterator[None]:
    """Raises RecipeError where the block moves the state of a global generator of torch or numpy.

    Python's own is not watched: other threads of a worker, such as its cluster's, read it too.
    """
    before = _states()
    yield
    moved = [name for name, state in _states().items() if state != before.get(name, state)]
    if not moved:
        return
    scheduler = type(getattr(pipeline, "scheduler", None)).__name__
    raise RecipeError(
        f"the model {shown(model)} used random numbers that no row's seed decides (from {', '.join(moved)}), so none "
        f"of its images could be generated again. Most often its scheduler, here {shown(scheduler)}, adds them: set "
        "the step's scheduler to one that the model can generate with, such as flow-match euler "
        "(docs/topics/steering.md), or take another model."
    )


def _states() -> dict[str, bytes]:
    """States of the global generators that a call may read; no device is waited for."""
    keys, position = np.random.get_state()[1:3]
    states = {"torch's for the CPU": torch.get_rng_state(), "numpy's": np.append(keys, position)}
    if torch.cuda.is_initialized():
        states |= {
            f"torch's for cuda:{number}": torch.cuda.get_rng_state(number)
            for number in range(torch.cuda.device_count())
        }
    if torch.backends.mps.is_available():
        states["torch's for mps"] = torch.mps.get_rng_state()
    return {name: bytes(np.asarray(state).data) for name, state in states.items()}
