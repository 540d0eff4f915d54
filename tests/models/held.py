"""A pipeline that is held in the middle, for IMAGEMILL_PIPELINE: what is killed there needs a middle that lasts."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.stand_in import StandIn

SECONDS = 0.25
"""A picture's time."""


class Held(StandIn):
    """The stand-in, a quarter of a second a picture; it draws none while the file IMAGEMILL_HOLD exists."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        time.sleep(SECONDS * len(prompt))
        while Path(os.environ["IMAGEMILL_HOLD"]).exists():
            time.sleep(0.02)
        return super().__call__(prompt, generator, width, height, output_type)


def held(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Held()
