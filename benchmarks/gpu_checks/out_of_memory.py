"""Out of memory beside another model, on a device that is made small: once, or at each change of model?"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu_checks.check import Answer, Setup, draw_images, needs_gpu, nothing_resident, spec_of, yes_or_no

QUESTION = "After running out of memory beside another model, the same does not happen at the next change?"


def run(setup: Setup) -> Iterator[Answer]:
    """Two models take turns where their weights fit, and the first one's batch does not fit beside both."""
    if answer := needs_gpu(setup, QUESTION):
        yield answer
        return
    large, small = (spec_of(model, memory={"vae_slicing": bool(n)}) for n, model in enumerate(setup.models))
    draw_images(setup, large, 4, 4)
    torch.cuda.empty_cache()
    weights = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    draw_images(setup, large, 4, 4)
    activations = torch.cuda.max_memory_allocated() - weights
    nothing_resident()
    total = torch.cuda.mem_get_info()[1]
    # Of one image by the second model there are less than half as many.
    torch.cuda.set_per_process_memory_fraction(min(1.0, (2 * weights + 0.6 * activations) / total))
    ooms, failed, moved = [], 0, 0
    for _ in range(3):
        before = torch.cuda.memory_stats().get("num_ooms", 0)
        for spec, images in ((small, 1), (large, 4)):
            report, events = draw_images(setup, spec, images, images)
            failed += len(report.failed)
            moved += sum(event["kind"] == "moved" for event in events)
        ooms.append(torch.cuda.memory_stats().get("num_ooms", 0) - before)
    is_remembered = ooms[0] > 0 and not any(ooms[1:])
    figures = {"ooms": ooms, "failed": failed, "moved": moved, "activations_gib": activations / 2**30}
    yield yes_or_no(QUESTION, is_remembered and not failed, **figures)
    nothing_resident()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (weights + 0.6 * activations) / total))
    report, _ = draw_images(setup, large, 8, 4)
    yield yes_or_no("A batch that does not fit is halved, and no image is lost?", report.generated == 8)
