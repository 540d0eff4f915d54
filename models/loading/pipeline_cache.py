"""Cache of loaded pipelines: one per worker process, least recently used evicted first.

An evicted pipeline is offloaded to host memory, or dropped if that is full too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading.acceleration import speed_up
from imagemill.models.loading.adapters import ip_adapter_bytes, steered_parts
from imagemill.models.loading.device_memory import (
    bytes_of,
    free_bytes,
    free_host_bytes,
    free_memory,
    is_limited,
    move,
    weights_of,
)
from imagemill.models.loading.given_parts import given_names
from imagemill.models.loading.load_errors import load_errors
from imagemill.models.loading.lora import changed_parts
from imagemill.models.loading.memory.offload import device_bytes, loaded_bytes, stays_on_device
from imagemill.models.loading.memory.pinned import bytes_to_copy, forget_copies
from imagemill.models.loading.memory.quantized_files import is_quantized
from imagemill.models.loading.pipeline import (
    device_name,
    extra_components,
    load_pipeline,
    local_folder,
    pick_device,
    pipeline_from_parts,
)
from imagemill.models.loading.schedulers import use_scheduler
from imagemill.models.loading.shared_parts import FolderState, find_equal, folder_state, part_folders

Report = Callable[[dict[str, Any]], None]


@dataclass
class Resident:
    """One set of weights and the pipelines around it."""

    spec: ModelSpec
    pipelines: dict[tuple[str, str | None], Any]
    """Pipeline class and scheduler (None: its own) -> that pipeline."""
    scheduler: Any
    """The one that it was loaded with; None for a stand-in, which has none."""
    folders: dict[Path, torch.nn.Module]
    """Folder -> the part that was loaded from it, for parts that no adapter has changed."""
    states: Mapping[Path, FolderState] = field(default_factory=dict)
    """Folder -> its files as they were loaded: they may be replaced while the part is in memory."""
    loras: tuple[Mapping[str, Any], ...] = ()
    """Share of each of its LoRAs that it uses."""
    is_on_device: bool = True
    used: float = field(default_factory=time.monotonic)

    @property
    def parts(self) -> list[torch.nn.Module]:
        """Its parts that have weights."""
        return list(weights_of(next(iter(self.pipelines.values()))).values())


_resident: dict[str, Resident] = {}
"""By ModelSpec.weights_key."""

_crowded: dict[str, int] = {}
"""ModelSpec.weights_key -> bytes of other models' weights beside which that model ran out of memory."""

_loading = threading.Lock()


def resident_pipeline(spec: ModelSpec, report: Report, max_resident: int | None = None) -> Any:
    """The spec's pipeline, on the device. ``report`` gets an event when it is loaded, or moved back from host memory.

    ``max_resident``: the most models on the device at once; by default as many as fit.
    """
    with _loading:
        device, started = pick_device(), time.perf_counter()
        found = _resident.get(spec.weights_key)
        if found is None:
            loras: list[dict[str, Any]] = []
            with load_errors(spec):
                found = _resident[spec.weights_key] = _load(spec, device, max_resident, partial(_sort, report, loras))
            found.loras = tuple(loras)
            _emit(report, "loaded", found, device, started, **({"loras": loras} if loras else {}))
        elif not found.is_on_device:
            _make_space(bytes_of(found.parts), device, max_resident)
            move(found.parts, device)
            found.is_on_device = True
            _emit(report, "moved", found, device, started)
        _thin_out(found, device)
        found.used = time.monotonic()
        key = spec.pipeline, spec.scheduler
        if key not in found.pipelines:
            found.pipelines[key] = pipeline_from_parts(next(iter(found.pipelines.values())), spec)
            use_scheduler(found.pipelines[key], found.scheduler, spec.scheduler)
        return found.pipelines[key]


def lora_fits(spec: ModelSpec) -> tuple[dict[str, Any], ...]:
    """Share of each LoRA that the spec's loaded model uses, with the model's name."""
    found = _resident.get(spec.weights_key)
    return tuple({"model": spec.name, **fit} for fit in found.loras) if found else ()


def _sort(report: Report, loras: list[dict[str, Any]], event: dict[str, Any]) -> None:
    """Keep reports on LoRAs for the event of the loaded model, which runs.jsonl has; emit the rest."""
    if event["kind"] == "lora":
        loras.append({name: value for name, value in event.items() if name not in ("kind", "model")})
    else:
        report(event)


def _emit(report: Report, kind: str, resident: Resident, device: torch.device, started: float, **more: Any) -> None:
    seconds, gib = round(time.perf_counter() - started, 2), round(bytes_of(resident.parts) / 2**30, 3)
    facts = {"model": resident.spec.name, "device": device_name(device), "seconds": seconds, "gib": gib}
    report({"kind": kind, **facts, **more})


def _load(spec: ModelSpec, device: torch.device, max_resident: int | None, report: Report) -> Resident:
    folder = local_folder(spec)
    own = part_folders(folder) if folder else []
    # Parts with other settings, or with hooks for offload, are not the same.
    shareable = [
        resident
        for resident in _resident.values()
        if _setup(resident.spec) == _setup(spec) and spec.memory.offload == "none"
    ]
    loaded = {
        path: part
        for resident in shareable
        for path, part in resident.folders.items()
        if resident.states[path] == folder_state(path)
    }
    states = {path: folder_state(path) for path in own}
    # A LoRA or an IP-Adapter changes a part in place, so such a part is not shared.
    changed = (changed_parts(spec) | steered_parts(spec)) if own else frozenset()
    own = [path for path in own if path.name not in given_names(spec)]
    shared = {
        path.name: loaded[equal] for path in own if path.name not in changed and (equal := find_equal(path, loaded))
    }
    extra = extra_components(spec, device, folder)
    own_bytes = loaded_bytes(spec, folder, {**shared, **extra}) if folder else []
    adapter = ip_adapter_bytes(spec) if folder else 0
    _make_space(device_bytes(spec, [*own_bytes, *map(_size, modules_of(extra)), adapter]), device, max_resident)
    pipeline = load_pipeline(spec, device, {**shared, **extra}, report)
    speed_up(pipeline, spec.speed, spec.name, spec.call.texts_vary)
    parts = weights_of(pipeline)
    plain = {path: parts[path.name] for path in own if path.name in parts and path.name not in changed}
    scheduler = getattr(pipeline, "scheduler", None)
    if spec.scheduler:
        use_scheduler(pipeline, scheduler, spec.scheduler)
    return Resident(spec, {(spec.pipeline, spec.scheduler): pipeline}, scheduler, plain, states)


def _size(part: torch.nn.Module) -> int:
    return bytes_of([part])


def modules_of(parts: Mapping[str, Any]) -> list[torch.nn.Module]:
    """Those of a pipeline's parts that have weights."""
    return [part for part in parts.values() if isinstance(part, torch.nn.Module)]


def _setup(spec: ModelSpec) -> tuple[Any, ...]:
    return spec.dtype, spec.speed, spec.memory, spec.quantized


def _make_space(needed: int, device: torch.device, max_resident: int | None) -> None:
    """Evict the least recently used until ``needed`` bytes of weights fit beside the others."""
    while on_device := sorted(filter(attrgetter("is_on_device"), _resident.values()), key=attrgetter("used")):
        is_full = max_resident is not None and len(on_device) >= max_resident
        # An offloaded model is in the host's memory, and leaves no space on the device.
        holding = [resident for resident in on_device if stays_on_device(resident.spec.memory, device)]
        fits = free_bytes(device, allocated=bytes_of(_parts_of(holding))) >= needed
        leaving = on_device if is_full else holding
        if not leaving or (fits and not is_full):
            return
        _evict(leaving[0], device, to_free_memory=not is_full)


def _thin_out(resident: Resident, device: torch.device) -> None:
    """Evict the least recently used of the others while they are as many as this one ran out of memory beside."""
    limit = _crowded.get(resident.spec.weights_key)
    while limit is not None and (others := sorted(_others(resident.spec), key=attrgetter("used"))):
        if _bytes_beside(resident, others) < limit:
            return
        _evict(others[0], device, to_free_memory=True)


def _others(spec: ModelSpec) -> list[Resident]:
    """The other models on the device."""
    return [found for key, found in _resident.items() if key != spec.weights_key and found.is_on_device]


def _bytes_beside(resident: Resident, others: Iterable[Resident]) -> int:
    own = {id(part) for part in resident.parts}
    return bytes_of(part for part in _parts_of(others) if id(part) not in own)


def _parts_of(residents: Iterable[Resident]) -> list[torch.nn.Module]:
    """Their parts, each once."""
    return list({id(part): part for resident in residents for part in resident.parts}.values())


def _evict(resident: Resident, device: torch.device, to_free_memory: bool) -> None:
    """Offload to host memory where that helps and there is enough of it; otherwise drop."""
    resident.is_on_device = False
    stay = {id(part) for part in _parts_of(filter(attrgetter("is_on_device"), _resident.values()))}
    leaving = [part for part in resident.parts if id(part) not in stay]
    if _can_offload(resident, leaving, device, to_free_memory):
        move(leaving, torch.device("cpu"))
    else:
        del _resident[resident.spec.weights_key]
    del leaving
    free_memory()


def _can_offload(
    resident: Resident, leaving: list[torch.nn.Module], device: torch.device, to_free_memory: bool
) -> bool:
    memory = resident.spec.memory
    if memory.offload != "none" or memory.quantization != "none" or any(map(is_quantized, leaving)):
        return False
    if device.type == "cuda":
        needed = bytes_to_copy(leaving)
        if free_host_bytes() >= needed:
            return True
        on_device = _parts_of(filter(attrgetter("is_on_device"), _resident.values()))
        return free_host_bytes() + forget_copies(on_device) >= needed
    # Elsewhere device and host share one memory: offloading would free nothing.
    return not to_free_memory


def evict_others(spec: ModelSpec) -> bool:
    """Evict all other models from the device, beside which this one ran out of memory; whether there were any.

    Beside as many it will not stand again: ``resident_pipeline`` evicts them before. On a CPU whose memory is not
    limited (IMAGEMILL_DEVICE_GIB) none is evicted.
    """
    with _loading:
        device = pick_device()
        others = _others(spec)
        if not others or (device.type == "cpu" and not is_limited()):
            # Alone it ran out too: a smaller batch may fit beside others again.
            _crowded.pop(spec.weights_key, None)
            return False
        if own := _resident.get(spec.weights_key):
            _crowded[spec.weights_key] = _bytes_beside(own, others)
        for resident in others:
            _evict(resident, device, to_free_memory=True)
        return True
