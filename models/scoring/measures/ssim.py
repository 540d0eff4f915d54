"""Measure ``ssim``: structural similarity of an edit and its source, 1 for equal images."""

from __future__ import annotations

import numpy as np

from imagemill.models.scoring.views import Views, luma, source_of

SIGMA, RADIUS = 1.5, 5
"""Of the Gaussian window: 11 x 11 pixels."""

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def measure(views: Views) -> float:
    """Mean SSIM of the luma (Wang et al. 2004, "Image quality assessment"), with a Gaussian window of 11 pixels.

    At the borders the image is mirrored.
    """
    image, source = luma(views.image).astype(np.float64), luma(source_of(views)).astype(np.float64)
    mean, other = _blurred(image), _blurred(source)
    variance = _blurred(image * image) - mean * mean
    other_variance = _blurred(source * source) - other * other
    covariance = _blurred(image * source) - mean * other
    index = (2 * mean * other + C1) * (2 * covariance + C2)
    index /= (mean * mean + other * other + C1) * (variance + other_variance + C2)
    return float(index.mean())


def _blurred(values: np.ndarray) -> np.ndarray:
    offsets = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    height, width = values.shape
    padded = np.pad(values, ((RADIUS, RADIUS), (0, 0)), mode="symmetric")
    rows = sum(weight * padded[start : start + height] for start, weight in enumerate(weights))
    padded = np.pad(rows, ((0, 0), (RADIUS, RADIUS)), mode="symmetric")
    return sum(weight * padded[:, start : start + width] for start, weight in enumerate(weights))
