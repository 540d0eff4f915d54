"""Pipelines for IMAGEMILL_PIPELINE that block: while a file exists, or until they are called again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.stand_in import StandIn
from imagemill.data.errors import BuildFailed
from imagemill.data.images.codec import encode_image
from imagemill.data.staging import store as staging

SECONDS = 0.25
"""Per image."""


class Held(StandIn):
    """The stand-in at a quarter of a second per image; it generates none while the file IMAGEMILL_HOLD exists."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        time.sleep(SECONDS * len(prompt))
        while Path(os.environ["IMAGEMILL_HOLD"]).exists():
            time.sleep(0.02)
        return super().__call__(prompt, generator, width, height, output_type)


class Counted(StandIn):
    """The stand-in; its images are not encoded before it has been called a second time."""

    def __init__(self) -> None:
        self._calls, self._is_called_again = 0, Event()
        staging.encode_image = self._encode

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        self._calls += 1
        if self._calls == 2:
            self._is_called_again.set()
        return super().__call__(prompt, generator, width, height, output_type)

    def _encode(self, *image: Any) -> bytes:
        if not self._is_called_again.wait(60):
            # An error that no build retries.
            raise BuildFailed("no further batch was generated before this image was encoded")
        return encode_image(*image)


def counted(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Counted()


def held(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Held()
