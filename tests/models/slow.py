"""A pipeline that takes its time, for IMAGEMILL_PIPELINE: what is killed in the middle needs a middle."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.stand_in import StandIn

SECONDS = 0.25
"""A picture's time."""


class Slow(StandIn):
    """The stand-in, a quarter of a second a picture."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        time.sleep(SECONDS * len(prompt))
        return super().__call__(prompt, generator, width, height, output_type)


def slow(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Slow()
