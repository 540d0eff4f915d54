"""Teach the bundled model's text encoders to read, before and while the transformer learns to draw.

"A red circle on a blue background" and its reverse have the same words, and denoising alone takes thousands of steps to
find out which colour is whose. So two linear heads, thrown away after training, say from each encoder's output what the
text asks for: the scene's five fields, or the one field that an edit changes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from imagemill.models.bundled.architecture import TEXT_WIDTH
from imagemill.models.bundled.scenes import CENTRES, COLOURS, RADII, SHAPES, Scene

FIELDS = {"shape": SHAPES, "colour": COLOURS, "background": COLOURS, "size": RADII, "position": CENTRES}
WIDTHS = [1 + len(values) for values in FIELDS.values()]  # the first class is "the text does not say"


def labels(scene: Scene, before: Scene | None = None) -> list[int]:
    """A class for each field: what the scene shows there, or 0 where it is as it was `before` the edit."""
    return [
        0
        if before is not None and getattr(before, name) == getattr(scene, name)
        else 1 + list(values).index(getattr(scene, name))
        for name, values in FIELDS.items()
    ]


class Reader(nn.Module):
    """Heads that read a text's fields from the encoders' outputs. Called, gives their mean cross-entropy."""

    def __init__(self):
        super().__init__()
        self.from_pooled = nn.Linear(TEXT_WIDTH, sum(WIDTHS))
        self.from_tokens = nn.Linear(TEXT_WIDTH, sum(WIDTHS))

    def forward(self, pooled: torch.Tensor, tokens: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """pooled (n, width) from CLIP, tokens (n, TEXT_TOKENS, width) from T5, wanted (n, 5) classes."""
        parts = [*self.from_pooled(pooled).split(WIDTHS, 1), *self.from_tokens(tokens.mean(dim=1)).split(WIDTHS, 1)]
        return sum(cross_entropy(part, wanted[:, i % len(WIDTHS)]) for i, part in enumerate(parts)) / len(parts)
