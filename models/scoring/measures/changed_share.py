"""Measure ``changed_share``: share of the pixels that an edit has changed, 0 to 1."""

from __future__ import annotations

from imagemill.models.scoring.views import Views, changed


def measure(views: Views) -> float:
    """Changed pixels, divided by all."""
    return float(changed(views).mean())
