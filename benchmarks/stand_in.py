"""Pipelines that cost nothing, so that a benchmark measures imagemill alone. Each seed shades one image of noise.

IMAGEMILL_PIPELINE=benchmarks.stand_in:make_pipeline    # called in place of from_pretrained (models/loading)
"""

from __future__ import annotations

import os
import time
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.encoding import photograph


class StandIn:
    """A text-to-image pipeline that returns coloured noise of the requested size."""

    components: dict[str, Any] = {}  # noqa: RUF012 - diffusers' own name, never changed
    device = torch.device("cpu")

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        """Images in the form of ``output_type="pt"``: float32, batch x 3 x height x width, 0 to 1."""
        shades = torch.tensor([0.5 + 0.5 * (seeded.initial_seed() % 65_521) / 65_521 for seeded in generator])
        return SimpleNamespace(images=_noise(width, height) * shades[:, None, None, None])


@cache
def _noise(width: int, height: int) -> torch.Tensor:
    small = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, size=(height, width), mode="bilinear")


def make_pipeline(spec: Any, device: torch.device) -> StandIn:
    """Return the stand-in, for any spec."""
    return StandIn()


class Sleeper(StandIn):
    """Sleeps IMAGEMILL_STAND_IN_SECONDS per batch, and takes no processor time, like a GPU. Sources are ignored."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        """StandIn's images, after the sleep."""
        time.sleep(float(os.environ.get("IMAGEMILL_STAND_IN_SECONDS", "0.5")))
        return super().__call__(prompt, generator, width, height, output_type)


def make_sleeper(spec: Any, device: torch.device) -> Sleeper:
    """Return the stand-in that sleeps."""
    return Sleeper()


class Photographer(StandIn):
    """Returns images with a photograph's spectrum, the same for each batch: making new ones would cost as much."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        """The photographs, in StandIn's form."""
        return SimpleNamespace(images=_photographs(len(prompt), width))


@cache
def _photographs(count: int, side: int) -> torch.Tensor:
    pixels = np.stack([np.asarray(photograph(side, seed)) for seed in range(count)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255


def make_photographer(spec: Any, device: torch.device) -> Photographer:
    """Return the stand-in whose encoded images are as large as photographs."""
    return Photographer()
