"""Pipelines that fail on purpose for some prompts, for IMAGEMILL_PIPELINE; otherwise the benchmarks' stand-in."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.stand_in import StandIn
from imagemill.models.loading import pipeline_cache


class Faulty(StandIn):
    """Generates like the stand-in, if ``fault`` lets the prompts pass."""

    def __init__(self, device: torch.device) -> None:
        self.calls: list[list[str]] = []

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        self.calls.append(prompt)
        self.fault(prompt)
        return super().__call__(prompt, generator, width, height, output_type)

    def fault(self, prompts: list[str]) -> None:
        """Raise, or end the process, if these prompts are to fail."""


class Poisoned(Faulty):
    """Fails on every batch with the word poison in a prompt."""

    def fault(self, prompts: list[str]) -> None:
        if any("poison" in prompt for prompt in prompts):
            raise ValueError("bad prompt")


class Broken(Faulty):
    """Fails on everything."""

    def fault(self, prompts: list[str]) -> None:
        raise ValueError("no such kernel")


class Small(Faulty):
    """A device whose memory holds at most two images, and none with the word huge in its prompt."""

    def fault(self, prompts: list[str]) -> None:
        if len(prompts) > 2 or any("huge" in prompt for prompt in prompts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


class Crowded(Faulty):
    """Runs out of memory beside another model, on every batch with the word large in a prompt."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.components = {"unet": torch.nn.Linear(64, 64)}

    def fault(self, prompts: list[str]) -> None:
        is_alone = sum(resident.is_on_device for resident in pipeline_cache._resident.values()) == 1
        if any("large" in prompt for prompt in prompts) and not is_alone:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


class Asserting(Faulty):
    """Fails as CUDA does on a failed assertion in a kernel, on every batch with the word assert in a prompt."""

    def fault(self, prompts: list[str]) -> None:
        if any("assert" in prompt for prompt in prompts):
            raise RuntimeError("CUDA error: device-side assert triggered")


class Deadly(Asserting):
    """Ends its process, hangs or loses its device, as the prompts say; with the word once, only the first time.

    A file in the folder that IMAGEMILL_FAULTS names records a fault that happened.
    """

    def fault(self, prompts: list[str]) -> None:
        for prompt in prompts:
            if "once" in prompt and self._happened(prompt):
                continue
            if "kill" in prompt:
                os.kill(os.getpid(), signal.SIGKILL)
            if "hang" in prompt:
                time.sleep(600)
            if "seize" in prompt:
                # Like a driver's call that never returns and holds Python's global lock: no other thread runs.
                self._happened(prompt)
                ctypes.PyDLL(None).sleep(600)
            super().fault([prompt])

    @staticmethod
    def _happened(prompt: str) -> bool:
        try:
            (Path(os.environ["IMAGEMILL_FAULTS"]) / prompt).touch(exist_ok=False)
        except FileExistsError:
            return True
        return False


class Hung(Faulty):
    """Fails like a call behind a kernel that hangs: an error that names no lost device, which answers no more."""

    def fault(self, prompts: list[str]) -> None:
        torch.cuda.is_available = torch.cuda.is_initialized = lambda: True
        torch.cuda.synchronize = lambda device=None: time.sleep(600)
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")


class Gated(StandIn):
    """Blocks on prompts that end with 12 or more until a worker with IMAGEMILL_OPENS in its environment generates.

    That worker signals with the file ``go`` in the folder that IMAGEMILL_FAULTS names.
    """

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        go, last = Path(os.environ["IMAGEMILL_FAULTS"]) / "go", prompt[0].split()[-1]
        if os.environ.get("IMAGEMILL_OPENS"):
            go.touch()
        while last.isdecimal() and int(last) >= 12 and not go.exists():
            time.sleep(0.05)
        return super().__call__(prompt, generator, width, height, output_type)


def gated(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Gated()


def steady(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE: never fails, and records its calls."""
    return Faulty(device)


def poisoned(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Poisoned(device)


def broken(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Broken(device)


def small(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Small(device)


def crowded(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Crowded(device)


def asserting(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Asserting(device)


def deadly(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Deadly(device)


def hung(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE; changes torch for the whole process."""
    return Hung(device)
