"""Measure ``sharpness``: variance of the Laplacian, low for blurred images, and 0 for one of one colour."""

from __future__ import annotations

import numpy as np

from imagemill.models.scoring.views import Views, luma


def measure(views: Views) -> float:
    """Variance of the 4-neighbour Laplacian of the luma (Pech-Pacheco et al. 2000), borders replicated."""
    values = np.pad(luma(views.image), 1, mode="edge")
    middle = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * middle
    return float(laplacian.var(dtype=np.float64))
