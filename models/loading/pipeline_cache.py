"""The pipelines that live in this worker process: each loaded once, on first need, and kept while there is room.

Where the next does not fit, the one that was used longest ago waits in host memory, or goes where that is full too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.acceleration import speed_up
from imagemill.models.loading.adapters import ip_adapter_bytes, steered_parts
from imagemill.models.loading.device_memory import bytes_of, free_bytes, free_host_bytes, free_memory, move, weights_of
from imagemill.models.loading.lora import changed_parts
from imagemill.models.loading.pipeline import (
    device_name,
    extra_components,
    load_pipeline,
    local_folder,
    pick_device,
    pipeline_from_parts,
)
from imagemill.models.loading.schedulers import use_scheduler
from imagemill.models.loading.shared_parts import find_equal, part_bytes, part_folders

Report = Callable[[dict[str, Any]], None]


@dataclass
class Resident:
    """One set of weights and the pipelines around it."""

    spec: ModelSpec
    pipelines: dict[tuple[str, str | None], Any]
    """Pipeline class and scheduler (None: its own) -> that pipeline."""
    scheduler: Any
    """The one it was loaded with; None for a stand-in, which has none."""
    folders: dict[Path, torch.nn.Module]
    """Where each of its parts was loaded from that is as its files say: without a LoRA."""
    is_on_device: bool = True
    used: float = field(default_factory=time.monotonic)

    @property
    def parts(self) -> list[torch.nn.Module]:
        """All that has weights."""
        return list(weights_of(next(iter(self.pipelines.values()))).values())


_resident: dict[str, Resident] = {}
"""By ModelSpec.weights_key."""

_loading = threading.Lock()


def resident_pipeline(spec: ModelSpec, report: Report, max_resident: int | None = None) -> Any:
    """The spec's pipeline, on the device. ``report`` is told when it was loaded, or brought back from host memory.

    ``max_resident``: the most models that stay on the device at once; by default as many as fit.
    """
    with _loading:
        device, started = pick_device(), time.perf_counter()
        found = _resident.get(spec.weights_key)
        if found is None:
            found = _resident[spec.weights_key] = _load(spec, device, max_resident)
            _emit(report, "loaded", found, device, started)
        elif not found.is_on_device:
            _release_slot(bytes_of(found.parts), device, max_resident)
            move(found.parts, device)
            found.is_on_device = True
            _emit(report, "moved", found, device, started)
        found.used = time.monotonic()
        which = spec.pipeline, spec.scheduler
        if which not in found.pipelines:
            found.pipelines[which] = pipeline_from_parts(next(iter(found.pipelines.values())), spec)
            use_scheduler(found.pipelines[which], found.scheduler, spec.scheduler)
        return found.pipelines[which]


def _emit(report: Report, kind: str, one: Resident, device: torch.device, started: float) -> None:
    seconds, gib = round(time.perf_counter() - started, 2), round(bytes_of(one.parts) / 2**30, 3)
    report({"kind": kind, "model": one.spec.name, "device": device_name(device), "seconds": seconds, "gib": gib})


def _load(spec: ModelSpec, device: torch.device, max_resident: int | None) -> Resident:
    folder = local_folder(spec)
    own = part_folders(folder) if folder else []
    # Parts that are set up in another way, or hooked to be offloaded, are not the same.
    alike = [one for one in _resident.values() if _setup(one.spec) == _setup(spec) and spec.memory.offload == "none"]
    loaded = {path: part for one in alike for path, part in one.folders.items()}
    # A LoRA or an IP-Adapter is put into a part in place, so what it changes is nobody else's.
    changed = (changed_parts(spec) | steered_parts(spec)) if own else frozenset()
    shared = {
        path.name: loaded[equal] for path in own if path.name not in changed and (equal := find_equal(path, loaded))
    }
    beside = extra_components(spec)
    wanted = sum(part_bytes(path) for path in own if path.name not in shared) + bytes_of(modules_of(beside))
    wanted += ip_adapter_bytes(spec) if own else 0
    _release_slot(wanted, device, max_resident)
    pipeline = speed_up(load_pipeline(spec, device, {**shared, **beside}), spec.speed, spec.name)
    parts = weights_of(pipeline)
    plain = {path: parts[path.name] for path in own if path.name in parts and path.name not in changed}
    scheduler = getattr(pipeline, "scheduler", None)
    if spec.scheduler:
        use_scheduler(pipeline, scheduler, spec.scheduler)
    return Resident(spec, {(spec.pipeline, spec.scheduler): pipeline}, scheduler, plain)


def modules_of(parts: Mapping[str, Any]) -> list[torch.nn.Module]:
    """Those of a pipeline's parts that have weights."""
    return [part for part in parts.values() if isinstance(part, torch.nn.Module)]


def _setup(spec: ModelSpec) -> tuple[Any, ...]:
    return spec.dtype, spec.speed, spec.memory


def _release_slot(wanted: int, device: torch.device, max_resident: int | None) -> None:
    """Send away those that were used longest ago, until ``wanted`` bytes of weights fit beside the others."""
    while there := sorted((one for one in _resident.values() if one.is_on_device), key=lambda one: one.used):
        is_full = max_resident is not None and len(there) >= max_resident
        if not is_full and free_bytes(device, allocated=bytes_of(_parts_of(there))) >= wanted:
            return
        _evict(there[0], device, for_room=not is_full)


def _parts_of(residents: Iterable[Resident]) -> list[torch.nn.Module]:
    """Their parts, each once."""
    return list({id(part): part for one in residents for part in one.parts}.values())


def _evict(one: Resident, device: torch.device, for_room: bool) -> None:
    """Let it wait in host memory where that helps and there is room, else drop it."""
    stay = {id(part) for part in _parts_of(o for o in _resident.values() if o is not one and o.is_on_device)}
    leaving = [part for part in one.parts if id(part) not in stay]
    one.is_on_device = False
    if _can_offload(one, leaving, device, for_room):
        move(leaving, torch.device("cpu"))
    else:
        del _resident[one.spec.weights_key]
    del leaving
    free_memory()


def _can_offload(one: Resident, leaving: list[torch.nn.Module], device: torch.device, for_room: bool) -> bool:
    if one.spec.memory.offload != "none" or one.spec.memory.quantization != "none":
        return False
    if device.type == "cuda":
        return free_host_bytes() >= bytes_of(leaving)
    # Elsewhere the device and the host have one memory between them: waiting there would free nothing.
    return not for_room


def evict_others(spec: ModelSpec) -> bool:
    """Free the device of all other models; whether there were any. On a CPU nothing goes."""
    with _loading:
        device = pick_device()
        others = [one for key, one in _resident.items() if key != spec.weights_key and one.is_on_device]
        if device.type == "cpu":
            return False
        for one in others:
            _evict(one, device, for_room=True)
        return bool(others)
