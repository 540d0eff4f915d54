"""Two models that fit on the device: do both stay?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu_checks.check import Answer, Setup, draw_images, environment, nothing_resident, spec_of, yes_or_no


def run(setup: Setup) -> Iterator[Answer]:
    """With a limit just over what both take once loaded: as they are, and offloaded."""
    from imagemill.models.loading.memory.offload import loaded_bytes

    specs = [spec_of(model, memory={"vae_slicing": bool(number)}) for number, model in enumerate(setup.models)]
    size = sum(sum(loaded_bytes(spec, Path(spec.source.location), ())) for spec in specs)
    with environment(IMAGEMILL_DEVICE_GIB=str(size * 1.01 / 2**30)):
        kinds = [event["kind"] for _ in range(3) for spec in specs for event in draw_images(setup, spec, 1)[1]]
    yield yes_or_no(
        "Two models that fit both stay?", kinds.count("loaded") == 2 and "moved" not in kinds, **count(kinds)
    )
    nothing_resident()
    specs = [spec_of(model, memory={"offload": "model"}) for model in setup.models]
    with environment(IMAGEMILL_DEVICE_GIB=str((size if setup.device.type == "cpu" else size / 2) * 1.01 / 2**30)):
        kinds = [event["kind"] for _ in range(3) for spec in specs for event in draw_images(setup, spec, 1)[1]]
    yield yes_or_no("Two offloaded models both stay?", kinds.count("loaded") == 2, **count(kinds))


def count(kinds: list[str]) -> dict[str, int]:
    """How many of each kind of event."""
    return {kind: kinds.count(kind) for kind in ("loaded", "moved")}
