"""Pipelines that fail on purpose, for IMAGEMILL_PIPELINE: the stand-in of the benchmarks, but for some prompts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.stand_in import StandIn


class Poisoned(StandIn):
    """Fails on every batch that has a prompt with the word poison in it."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        if any("poison" in one for one in prompt):
            raise ValueError("bad prompt")
        return super().__call__(prompt, generator, width, height, output_type)


class Broken(StandIn):
    """Fails on everything."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        raise ValueError("no such kernel")


def poisoned(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Poisoned()


def broken(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Broken()
