"""Offload: does the cache of texts live on, do shared parts leave the device, and are the pixels the same?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu_checks.check import Answer, Setup, nothing_resident, pixels, prepared, spec_of, yes_or_no

KINDS = ("model", "group", "sequential")


def run(setup: Setup) -> Iterator[Answer]:
    """Each kind of offload, with a second pipeline around the same parts."""
    from diffusers import FluxImg2ImgPipeline

    from imagemill.models.loading.device_memory import bytes_of, weights_of
    from imagemill.models.loading.memory.model_offload import offload_parts, share_offload
    from imagemill.models.loading.pipeline_cache import resident_pipeline

    rows = prepared(setup, ["a fox", "a kite"])
    plain = spec_of(setup.models[0])
    expected = pixels(resident_pipeline(plain, quiet), plain, rows)
    nothing_resident()
    for kind in KINDS:
        spec = spec_of(setup.models[0], memory={"offload": kind})
        pipeline = resident_pipeline(spec, quiet)
        if kind == "model" and setup.device.type == "cpu":
            # On a CPU imagemill ignores the setting: the hooks alone are tried.
            offload_parts(pipeline, torch.device("cpu", 0))
        encoded: list[int] = []
        pipeline.text_encoder_2.encoder.register_forward_hook(lambda *_, encoded=encoded: encoded.append(1))
        found = [pixels(pipeline, spec, rows) for _ in range(3)]
        yield yes_or_no(f"With offload {kind} the pixels are those without?", found == [expected] * 3)
        yield yes_or_no(
            f"With offload {kind} a known text is not encoded again?", len(encoded) == 1, encoded=len(encoded)
        )
        if setup.device.type == "cuda":
            left = {"after_one_gib": allocated()}
            second = FluxImg2ImgPipeline(**pipeline.components)
            share_offload(pipeline, second)
            second.set_progress_bar_config(disable=True)
            source = torch.rand(1, 3, setup.side, setup.side)
            second("a fox", image=source, strength=1.0, num_inference_steps=2, height=setup.side, width=setup.side)
            left["after_another_gib"] = allocated()
            size = bytes_of(weights_of(pipeline).values()) / 2**30
            question = f"With offload {kind} two pipelines around the same parts leave the device empty?"
            yield yes_or_no(question, left["after_another_gib"] < size / 20, **left, model_gib=size)
            del second
        del pipeline
        nothing_resident()


def allocated() -> float:
    """GiB of tensors on the device."""
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated() / 2**30


def quiet(event: dict[str, Any]) -> None:
    """A report that is not read."""
