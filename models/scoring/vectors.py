"""Stored form of an image's embedding."""

from __future__ import annotations

import numpy as np
import torch


def packed(vector: torch.Tensor) -> bytes:
    """A unit vector as float16, little endian: 2 bytes a dimension."""
    return vector.numpy().astype(np.dtype("<f2")).tobytes()
