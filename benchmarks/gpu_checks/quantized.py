"""Quantized models: both stay, which kinds can be offloaded, and could they wait in the host's memory?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.gpu_checks.check import (
    Answer,
    Setup,
    draw_images,
    environment,
    not_run,
    nothing_resident,
    pixels,
    prepared,
    spec_of,
    yes_or_no,
)

OFFLOADS = ("none", "model", "sequential", "group")
REFUSED = {("bitsandbytes_4bit", "sequential"), ("bitsandbytes_8bit", "group")}
"""By a recipe's own checks (data/config)."""


def run(setup: Setup) -> Iterator[Answer]:
    """With the packages that are installed."""
    kinds = available(setup)
    if not kinds:
        yield not_run(
            "Quantized models stay, move and can be offloaded?", "neither torchao nor bitsandbytes is installed"
        )
    for kind in kinds:
        yield stays(setup, kind)
        yield moves(setup, kind)
    if kinds and setup.device.type == "cuda":
        yield pairs(setup, kinds)


def available(setup: Setup) -> list[str]:
    """The kinds of quantization that this machine can do."""
    kinds = ["torchao_int8"] if find_spec("torchao") else []
    if find_spec("bitsandbytes") and setup.device.type == "cuda":
        kinds += ["bitsandbytes_4bit", "bitsandbytes_8bit"]
    return kinds


def stays(setup: Setup, kind: str) -> Answer:
    """Two models under a limit just over what both take quantized."""
    from imagemill.models.loading.memory.offload import loaded_bytes

    specs = [
        spec_of(model, memory={"quantization": kind, "vae_slicing": bool(number)})
        for number, model in enumerate(setup.models)
    ]
    size = sum(sum(loaded_bytes(spec, Path(spec.source.location), ())) for spec in specs)
    with environment(IMAGEMILL_DEVICE_GIB=str(size * 1.05 / 2**30)):
        events = [event for _ in range(2) for spec in specs for event in draw_images(setup, spec, 1)[1]]
    loads = [event for event in events if event["kind"] == "loaded"]
    real = sum(event["gib"] for event in loads[:2])
    nothing_resident()
    figures = {"loads": len(loads), "expected_gib": size / 2**30, "loaded_gib": real}
    return yes_or_no(f"Two models in {kind} that fit both stay?", len(loads) == 2, **figures)


def moves(setup: Setup, kind: str) -> Answer:
    """To the host and back, which imagemill does not try: it drops such models."""
    from imagemill.models.loading.pipeline_cache import resident_pipeline

    question = f"A model in {kind} could wait in the host's memory (now it is loaded again)?"
    spec = spec_of(setup.models[0], memory={"quantization": kind})
    pipeline, rows = resident_pipeline(spec, lambda event: None), prepared(setup, ["a fox", "a kite"])
    expected = pixels(pipeline, spec, rows)
    try:
        pipeline.to("cpu")
        pipeline.to(setup.device)
        is_same, why = pixels(pipeline, spec, rows) == expected, ""
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError) as error:
        is_same, why = False, f"{type(error).__name__}: {str(error)[:100]}"
    nothing_resident()
    return yes_or_no(question, is_same, error=why)


def pairs(setup: Setup, kinds: list[str]) -> Answer:
    """Each quantization with each offload that a recipe may name."""
    failed: dict[str, str] = {}
    tried = [pair for pair in product(kinds, OFFLOADS) if pair not in REFUSED]
    for kind, offload in tried:
        spec = spec_of(setup.models[0], memory={"quantization": kind, "offload": offload})
        try:
            report, _ = draw_images(setup, spec, 2)
            if report.failed:
                failed[f"{kind}+{offload}"] = next(iter(report.failed.values())).reason[:100]
        except Exception as error:  # noqa: BLE001 - each pair fails in another way, and none ends the check
            failed[f"{kind}+{offload}"] = f"{type(error).__name__}: {str(error)[:100]}"
        nothing_resident()
    works: dict[str, Any] = {"works": f"{len(tried) - len(failed)} of {len(tried)}", "failed": failed}
    return yes_or_no("Every quantization works with every offload that a recipe may name?", not failed, **works)
