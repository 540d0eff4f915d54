"""Proof of a family that imagemill has not tried: its first rows show that an image depends on its own row alone.

Two rows are generated in both orders and beside a long prompt, with another seed and with another prompt. It takes a
few calls of few steps, once a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.pipeline_call import draw_batch
from imagemill.models.loading.load_errors import is_out_of_memory

MAX_STEPS = 4
"""Steps of a proof's images: what is wrong shows in few."""

OTHER, LONG = "a red kite over a harbour", "a kite " + "above the roofs of an old town by the sea, " * 8

_proven: set[tuple[str, str, str | None, int]] = set()
"""Weights, pipeline, scheduler and batch size that have passed in this process."""


def prove(pipeline: Any, spec: ModelSpec, first: PreparedDrawing, batch_size: int) -> None:
    """Raises RecipeError, with the reason, where the model's images depend on what they must not, or not on their row.

    ``first``: a row of the job. Does nothing for a family that imagemill's tests have, or that has passed before.
    """
    size = min(2, batch_size, spec.limits.max_batch or 2)
    key = spec.weights_key, spec.pipeline, spec.scheduler, size
    if not spec.is_untried or key in _proven:
        return
    try:
        reason = next(_faults(pipeline, spec, first, size), None)
    except (RuntimeError, MemoryError) as error:
        if size == 1 or not is_out_of_memory(error):
            raise
        # Its batches will have one row too.
        return prove(pipeline, spec, first, 1)
    if reason:
        alone = "Set batch_size to 1, or take" if size > 1 else "Take"
        raise RecipeError(
            f"the model {shown(spec.name)} is a {spec.pipeline}, which imagemill has not tried, and its first rows "
            f"show why it cannot be used: {reason}. {alone} a model of another family (docs/reference/models.md)."
        )
    _proven.add(key)


def _faults(pipeline: Any, spec: ModelSpec, first: PreparedDrawing, size: int) -> Iterator[str]:
    steps = min(first.drawing.steps or MAX_STEPS, max(MAX_STEPS, spec.limits.min_steps))
    row = replace(first, drawing=replace(first.drawing, steps=steps))
    other = _changed(row, prompt=OTHER, seed=row.drawing.seed + 1)

    def images(*rows: PreparedDrawing) -> list[np.ndarray]:
        return [np.asarray(image) for _, image, _ in draw_batch(pipeline, spec, rows, size)]

    if size > 1:
        (mine, its), (moved_its, moved_mine) = images(row, other), images(other, row)
        beside_long, _ = images(row, _changed(other, prompt=LONG))
        if (mine != moved_mine).any() or (its != moved_its).any():
            yield "an image depends on its place in the batch"
        if (mine != beside_long).any():
            yield "an image depends on its neighbour's prompt"
    else:
        (mine,), (again,) = images(row), images(row)
        if (mine != again).any():
            yield "the same row gives two images"
    if not (images(_changed(row, seed=row.drawing.seed + 1))[0] != mine).any():
        yield "the seed changes nothing"
    if not (images(_changed(row, prompt=OTHER))[0] != mine).any():
        yield "the prompt changes nothing"


def _changed(row: PreparedDrawing, **changes: Any) -> PreparedDrawing:
    return replace(row, drawing=replace(row.drawing, **changes))
