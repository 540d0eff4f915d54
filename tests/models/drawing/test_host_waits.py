"""Denoising steps never wait for the device: the host queues the next one while this one is computed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imagemill.data.config.steps import Generate
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.tried import SAVED, TRIED
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.pipeline_call import draw_batch
from imagemill.models.loading.pipeline import load_pipeline
from tests.models.tiny import save_tiny

READS = {"_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "unique_dim", "_unique2"}
"""Operations whose result the host waits for, since its next step depends on a value."""

WAITING = {"StableDiffusionPipeline", "StableDiffusionXLPipeline", "KolorsPipeline", "LatentConsistencyModelPipeline"}
"""Families whose default scheduler reads a value at each step: PNDM, Euler, which keeps it on the host, and LCM."""

FAMILIES = [name for name, how in TRIED.items() if how.get("text-to-image") == SAVED and name not in WAITING]


class Values(TorchDispatchMode):
    """Counts the operations that the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        self.counted.update([name] if name in READS else [])
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_more_steps_read_no_more_values_from_the_device(family: str, tmp_path: Path):
    spec = resolve("generate", Generate(model=str(save_tiny(family, tmp_path))))
    pipeline = load_pipeline(spec, torch.device("cpu"), {})
    found = []
    for steps in (4, 8):
        drawing = Drawing("0" * 32, "a fox", seed=3, steps=steps, width=64, height=64, guidance_scale=3.0)
        with Values() as values:
            draw_batch(pipeline, spec, [PreparedDrawing(drawing, None, 64, 64)], 1)
        found.append(values.counted)
    assert found[0] == found[1]
