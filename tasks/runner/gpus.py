"""Which GPUs there are, as their drivers' own environment variables name them; found without importing torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from imagemill.data.errors import RecipeError

CUDA, ROCM = "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"


def variable() -> str:
    """The variable that gives a process its GPUs: CUDA's, or ROCm's where that is set or only AMD's tools are there."""
    if CUDA in os.environ:
        return CUDA
    return ROCM if ROCM in os.environ or (not shutil.which("nvidia-smi") and shutil.which("rocm-smi")) else CUDA


def visible_gpus() -> list[str]:
    """The GPUs that this process may use: indices, UUIDs, or the UUIDs of MIG slices."""
    named = os.environ.get(variable())
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    if variable() == ROCM:
        return sorted(set(re.findall(r"GPU\[(\d+)\]", _output("rocm-smi", "--showid"))), key=int)
    return parse_nvidia(_output("nvidia-smi", "--list-gpus"))


def parse_nvidia(listed: str) -> list[str]:
    """The GPUs that ``nvidia-smi --list-gpus`` lists; of one that is cut into MIG slices, the slices."""
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        if whole := re.match(r"GPU (\d+):", line):
            found[whole[1]] = []
        elif slice_of := re.match(r"\s+MIG .*UUID: (MIG-[^)\s]+)", line):
            found[list(found)[-1]].append(slice_of[1])
    return [name for index, slices in found.items() for name in slices or [index]]


def choose_gpus(names: str) -> None:
    """Let this process and the workers it starts use only these GPUs: ``0,2``. Raises RecipeError for unknown ones."""
    asked, there = [name.strip() for name in names.split(",") if name.strip()], visible_gpus()
    unknown = [name for name in asked if not any(name == gpu or _is_start(name, gpu) for gpu in there)]
    if unknown or not asked:
        raise RecipeError(
            f"--gpus is {names!r}, and the GPUs that this process may use are {', '.join(there) or 'none'}: name some "
            f"of these, divided by commas ({variable()} decides which they are)."
        )
    os.environ[variable()] = ",".join(asked)


def _is_start(name: str, gpu: str) -> bool:
    # CUDA takes the beginning of a UUID for the whole.
    return name.startswith(("GPU-", "MIG-")) and gpu.startswith(name)


def gpu_environment(gpu: str) -> dict[str, str]:
    """What a worker's environment has so that it sees this GPU alone."""
    # In the order of nvidia-smi; CUDA's own order is by speed.
    return {variable(): gpu, "CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")}


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
