"""Loading: straight from the files to the device, or through the host's memory?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_checks.check import Answer, Setup, nothing_resident, spec_of, yes_or_no


def anonymous_bytes() -> int:
    """Memory of this process that is not of files (of which the kernel can take the pages back)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def peak_of(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Its result, its seconds, and how many GiB of memory it took at most at once."""
    before, ended, peak = anonymous_bytes(), threading.Event(), [0]

    def sample() -> None:
        while not ended.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes() - before)

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.perf_counter()
    try:
        found = work()
    finally:
        seconds = time.perf_counter() - started
        ended.set()
        sampler.join()
    return found, seconds, peak[0] / 2**30


def run(setup: Setup) -> Iterator[Answer]:
    """Both ways, one after the other, and whether they give the same bits."""
    from imagemill.models.loading.device_memory import bytes_of, weights_of
    from imagemill.models.loading.pipeline import diffusers_class, load_pipeline

    spec = spec_of(setup.models[0])
    kind = diffusers_class(spec.pipeline)
    load_pipeline(spec, setup.device, {})
    straight, seconds, peak = peak_of(lambda: load_pipeline(spec, setup.device, {}))
    size = bytes_of(weights_of(straight).values()) / 2**30
    through, other_seconds, other_peak = peak_of(
        lambda: kind.from_pretrained(setup.models[0], dtype=torch.bfloat16).to(setup.device)
    )
    figures = {
        "model_gib": size,
        "peak_gib": peak,
        "s": seconds,
        "by_host_peak_gib": other_peak,
        "by_host_s": other_seconds,
    }
    yield yes_or_no("A model is loaded without being in the host's memory as a whole?", peak < size / 2, **figures)
    unequal = [name for name, part in weights_of(straight).items() if not equal(part, weights_of(through)[name])]
    yield yes_or_no(
        "Loaded straight to the device its weights and tables have the same bits?", not unequal, unequal=unequal
    )
    del straight, through
    nothing_resident()
    yield from tables(setup)


def tables(setup: Setup) -> Iterator[Answer]:
    """Language models compute tables of rotary positions while they are loaded: on the device, or on the host?"""
    from transformers import AutoModel, Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1
    )
    Qwen3Model(config).save_pretrained(setup.folder / "qwen3")
    straight = AutoModel.from_pretrained(setup.folder / "qwen3", device_map=setup.device.type)
    through = AutoModel.from_pretrained(setup.folder / "qwen3").to(setup.device)
    yield yes_or_no("The same for the positions of a language model (Qwen3)?", equal(straight, through))


def equal(part: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether all weights and buffers of two parts have the same bits."""
    pairs = zip(chain(part.parameters(), part.buffers()), chain(other.parameters(), other.buffers()), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
