"""Visible GPUs, by the names that the drivers' environment variables use. Imports no torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown

CUDA, ROCM = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Variables with the settings of torch's allocator: the current name, and the older one, which it still reads."""


def variable() -> str:
    """The variable that selects a process's GPUs: CUDA's, or ROCm's if it is set or only AMD's tools are there."""
    if CUDA in os.environ:
        return CUDA
    return ROCM if ROCM in os.environ or (not shutil.which("nvidia-smi") and shutil.which("rocm-smi")) else CUDA


def visible_gpus() -> list[str]:
    """The GPUs that this process may use: indices, UUIDs, or the UUIDs of MIG slices."""
    names = os.environ.get(variable())
    if names is not None:
        return [gpu.strip() for gpu in names.split(",") if gpu.strip() not in ("", "-1")]
    if variable() == ROCM:
        return sorted(set(re.findall(r"GPU\[(\d+)\]", _output("rocm-smi", "--showid"))), key=int)
    return parse_nvidia(_output("nvidia-smi", "--list-gpus"))


def parse_nvidia(listed: str) -> list[str]:
    """The GPUs that ``nvidia-smi --list-gpus`` lists; for a partitioned GPU, its MIG slices."""
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        if whole := re.match(r"GPU (\d+):", line):
            found[whole[1]] = []
        elif slice_of := re.match(r"\s+MIG .*UUID: (MIG-[^)\s]+)", line):
            found[list(found)[-1]].append(slice_of[1])
    return [name for index, slices in found.items() for name in slices or [index]]


def choose_gpus(names: str) -> None:
    """Restrict this process and the workers it starts to these GPUs: ``0,2``. Raises RecipeError for unknown ones."""
    chosen, visible = [name.strip() for name in names.split(",") if name.strip()], visible_gpus()
    unknown = [name for name in chosen if not any(name == gpu or _is_prefix(name, gpu) for gpu in visible)]
    if unknown or not chosen:
        raise RecipeError(
            f"--gpus is {shown(names)}, and the GPUs that this process may use are {', '.join(visible) or 'none'}: "
            "name "
            f"some of these, separated by commas ({variable()} decides which they are)."
        )
    os.environ[variable()] = ",".join(chosen)


def _is_prefix(name: str, gpu: str) -> bool:
    # CUDA accepts the beginning of a UUID.
    return name.startswith(("GPU-", "MIG-")) and gpu.startswith(name)


def gpu_environment(gpu: str) -> dict[str, str]:
    """Environment variables of a worker that sees this GPU alone."""
    # In the order of nvidia-smi; CUDA's default order is by speed.
    found = {variable(): gpu, "CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")}
    if variable() == CUDA and not any(name in os.environ for name in ALLOCATOR):
        # Images of many sizes leave gaps between fixed segments, and a batch that would fit runs out of memory.
        found[ALLOCATOR[0]] = "expandable_segments:True"
    return found


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
