"""An IP-Adapter in a compiled model: the same image as uncompiled, and nothing compiled again for another strength?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.gpu_checks.check import Answer, Setup, needs_gpu, nothing_resident, prepared, spec_of, yes_or_no

QUESTION = "A compiled model with an IP-Adapter generates the image of the uncompiled one (within 8 of 255 on average)?"


def run(setup: Setup) -> Iterator[Answer]:
    """A tiny Stable Diffusion with a random IP-Adapter, as the tests make them."""
    if answer := needs_gpu(setup, QUESTION):
        yield answer
        return
    from imagemill.models.drawing.pipeline_call import draw_batch
    from imagemill.models.loading.pipeline_cache import resident_pipeline
    from tests.models.ip_adapters import save_ip_adapter
    from tests.models.tiny import save_tiny

    model = save_tiny("StableDiffusionPipeline", setup.folder)
    adapter = {"model": str(save_ip_adapter(model, setup.folder / "adapter")), "subfolder": "models"}
    adapter |= {"weight_name": "adapter.safetensors"}
    image = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    rows = [replace(row, guides={"image_prompt": image}) for row in prepared(setup, ["a fox"], width=64, height=64)]
    found: dict[bool, Any] = {}
    for compiles in (False, True):
        spec = spec_of(model, ip_adapter=adapter, speed={"compile": compiles})
        pipeline = resident_pipeline(spec, lambda event: None)
        [(_, generated, _)] = draw_batch(pipeline, spec, rows, 1)
        found[compiles] = np.asarray(generated, np.float64)
        del pipeline
        nothing_resident()
    apart = float(np.abs(found[True] - found[False]).mean())
    yield yes_or_no(QUESTION, apart <= 8, apart=apart)
