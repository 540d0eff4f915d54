"""The same row, the same bits: whatever texts its neighbours have, and at each call?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_checks.check import Answer, Setup, nothing_resident, prepared, spec_of, yes_or_no

FAMILIES = ("ZImagePipeline", "QwenImagePipeline", "SanaPipeline", "Flux2KleinPipeline")
LONG = "a very long text about a kite over the sea " * 16


def run(setup: Setup) -> Iterator[Answer]:
    """Latents in bfloat16 of tiny pipelines, of families whose attention may take a mask, and of the large one."""
    # Those of the tests: a model of each family from its configuration.
    from tests.models.tiny import save_tiny

    side = 64 if setup.tiny else 256
    models: dict[str, Path] = {name: save_tiny(name, setup.folder) for name in FAMILIES}
    for family, model in {**models, "FluxPipeline": setup.models[0]}.items():
        spec = spec_of(model)
        size = setup.side if family == "FluxPipeline" else side
        texts = [["a fox", "a cat"], ["a fox", LONG], ["a fox", "a fix"], ["a fox", "a cat"]]
        rows = [prepared(setup, pair, width=size, height=size) for pair in texts]
        found = [latents(spec, pair)[0] for pair in rows]
        far = [float((other - found[0]).abs().max()) for other in found[1:]]
        yield yes_or_no(
            f"{family}: a row's bits do not depend on its neighbour's text?",
            max(far[:2]) == 0,
            long=far[0],
            short=far[1],
        )
        yield yes_or_no(f"{family}: the same call gives the same bits?", far[2] == 0, apart=far[2])
        alone = latents(spec, rows[0][:1])[0]
        placed = latents(spec, rows[0][::-1])[1]
        figures = {"alone_apart": float((alone - found[0]).abs().max()), "std": float(found[0].std())}
        yield yes_or_no(f"{family}: nor on its place in the batch?", torch.equal(placed, found[0]), **figures)
        nothing_resident()


def latents(spec: Any, rows: list[Any]) -> torch.Tensor:
    """The latents of each row, before they are decoded."""
    from imagemill.models.drawing.pipeline_call import arguments_of_call
    from imagemill.models.loading.pipeline_cache import resident_pipeline

    rows = [replace(row, drawing=replace(row.drawing, guidance_scale=3.0)) for row in rows]
    pipeline = resident_pipeline(spec, lambda event: None)
    with torch.inference_mode():
        return pipeline(**arguments_of_call(pipeline, spec, rows), output_type="latent").images.float().cpu()
