"""Measure ``changed_outside_mask``: share of the pixels outside an edit's mask that it has changed, 0 to 1."""

from __future__ import annotations

from imagemill.models.scoring.views import Views, changed


def measure(views: Views) -> float:
    """Changed pixels where the mask is black, divided by all such pixels; 0 where it is white all over."""
    assert views.mask is not None, "the recipe gives this measure edits with masks only"
    outside = views.mask < 128
    return float(changed(views)[outside].mean()) if outside.any() else 0.0
