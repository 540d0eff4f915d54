"""Input images of a measure, as arrays of one height and width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Views:
    """One image, and for edits its source and mask; None where the measure does not read them."""

    image: np.ndarray
    """(height, width, 3) of bytes, sRGB."""
    source: np.ndarray | None = None
    """As the image, scaled to its size."""
    mask: np.ndarray | None = None
    """(height, width) of bytes: 255 where the image was repainted, 0 elsewhere."""


def luma(image: np.ndarray) -> np.ndarray:
    """(height, width) of float32, 0 to 255: luma of BT.601, as in JPEG."""
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def source_of(views: Views) -> np.ndarray:
    """The source of a measure that compares with one."""
    assert views.source is not None, "the recipe gives such a measure edits only"
    return views.source


MIN_CHANGE = 8
"""Difference of a channel, of 255, above which a pixel counts as changed: less comes from encoding and decoding."""


def changed(views: Views) -> np.ndarray:
    """(height, width) of bool: where a channel differs from the source by more than MIN_CHANGE."""
    difference = np.abs(views.image.astype(np.int16) - source_of(views).astype(np.int16))
    return difference.max(axis=2) > MIN_CHANGE
