"""Models that wait in the host's memory: how fast do they leave the device, and come back?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.gpu_checks.check import Answer, Setup, needs_gpu, spec_of, yes_or_no

QUESTION = "A model leaves the device and comes back faster by pinned memory?"


def run(setup: Setup) -> Iterator[Answer]:
    """A round trip through the host's usual memory, and two through pinned memory."""
    from imagemill.models.loading.device_memory import bytes_of
    from imagemill.models.loading.memory.pinned import to_host
    from imagemill.models.loading.pipeline import load_pipeline

    if answer := needs_gpu(setup, QUESTION):
        yield answer
        return
    part = load_pipeline(spec_of(setup.models[0]), setup.device, {}).transformer
    before = [weight.clone() for weight in part.parameters()]
    size = bytes_of([part]) / 2**30
    figures: dict[str, Any] = {"gib": size}
    trips = {
        "plain": lambda: part.to("cpu"),
        "pinned_first": lambda: to_host(part),
        "pinned_again": lambda: to_host(part),
    }
    totals = {}
    for name, leave in trips.items():
        out, back = seconds(leave), seconds(lambda: part.to(setup.device))
        totals[name] = out + back
        figures |= {f"{name}_out_s": out, f"{name}_back_s": back, f"{name}_back_gib_s": size / back}
    yield yes_or_no(QUESTION, totals["pinned_again"] < totals["plain"], **figures)
    yield yes_or_no("The first trip, which pins the memory, is not slower?", totals["pinned_first"] <= totals["plain"])
    is_equal = all(map(torch.equal, before, part.parameters()))
    yield yes_or_no("Its weights have the same bits afterwards?", is_equal)


def seconds(work: Callable[[], Any]) -> float:
    """Seconds until the device has finished it."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started
