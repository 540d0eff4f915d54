"""batch_size: auto with a compiled model: what do its trials cost, and do they leave room for graphs?"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from benchmarks.gpu_checks.check import Answer, Setup, draw_images, needs_gpu, nothing_resident, spec_of, yes_or_no

QUESTION = "Finding a batch size takes under a minute, compiled?"


def run(setup: Setup) -> Iterator[Answer]:
    """Up to four images a batch; then on a device that is too small for two."""
    if answer := needs_gpu(setup, QUESTION):
        yield answer
        return
    from torch._dynamo.utils import counters

    spec = spec_of(setup.models[0], speed={"compile": True})
    counters.clear()
    started = time.perf_counter()
    report, _ = draw_images(setup, spec, 4, 4, finds_batch_size=True)
    seconds = time.perf_counter() - started
    graphs = dict(counters["stats"]).get("unique_graphs")
    yield yes_or_no(QUESTION, seconds < 60 and not report.failed, s=seconds, graphs=graphs)
    torch.cuda.reset_peak_memory_stats()
    weights = torch.cuda.memory_allocated()
    draw_images(setup, spec, 1, 1, width=setup.side + 64)
    activations = torch.cuda.max_memory_allocated() - weights
    nothing_resident()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (weights + 1.3 * activations) / total))
    report, _ = draw_images(setup, spec, 2, 2, finds_batch_size=True, width=setup.side + 64)
    question = "A trial that runs out of memory in a compiled model ends the search, and no image is lost?"
    reasons = [failure.reason[:100] for failure in report.failed.values()]
    yield yes_or_no(question, report.generated == 2, generated=report.generated, reasons=reasons)
