"""Pipelines that fail on purpose, for IMAGEMILL_PIPELINE: the stand-in of the benchmarks, but for some prompts."""

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


class Faulty(StandIn):
    """Generates as the stand-in does, once ``fault`` has let the prompts pass."""

    def __init__(self, device: torch.device) -> None:
        self.calls: list[list[str]] = []

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        self.calls.append(prompt)
        self.fault(prompt)
        return super().__call__(prompt, generator, width, height, output_type)

    def fault(self, prompts: list[str]) -> None:
        """Raise, or end the process, where these prompts are to fail."""


class Poisoned(Faulty):
    """Fails on every batch that has a prompt with the word poison in it."""

    def fault(self, prompts: list[str]) -> None:
        if any("poison" in one for one in prompts):
            raise ValueError("bad prompt")


class Broken(Faulty):
    """Fails on everything."""

    def fault(self, prompts: list[str]) -> None:
        raise ValueError("no such kernel")


class Small(Faulty):
    """A device whose memory holds two images and no more, and none with the word huge in its prompt."""

    def fault(self, prompts: list[str]) -> None:
        if len(prompts) > 2 or any("huge" in one for one in prompts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


class Asserting(Faulty):
    """Fails as CUDA does where a kernel's assertion does, on every batch with the word assert in it."""

    def fault(self, prompts: list[str]) -> None:
        if any("assert" in one for one in prompts):
            raise RuntimeError("CUDA error: device-side assert triggered")


class Deadly(Asserting):
    """Ends its process, hangs or loses its device, as the prompts say; with the word once, the first time only.

    What happened once is remembered as a file in the folder that IMAGEMILL_FAULTS names.
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
                # As a driver's call that never comes back and holds Python's lock: no other thread runs.
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


class Gated(StandIn):
    """Holds prompts that end with 12 or more until a worker generates that has IMAGEMILL_OPENS in its environment.

    It says so with the file ``go`` in the folder that IMAGEMILL_FAULTS names.
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
    """For IMAGEMILL_PIPELINE: fails on nothing, and remembers its calls."""
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


def asserting(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Asserting(device)


def deadly(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Deadly(device)
