"""Measure ``entropy``: bits of information in an image's histogram, 0 for one colour, at most 8."""

from __future__ import annotations

import numpy as np

from imagemill.models.scoring.views import Views, luma


def measure(views: Views) -> float:
    """Shannon entropy, in bits, of the luma in 256 steps."""
    counts = np.bincount(np.rint(luma(views.image)).astype(np.int64).ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0
