"""Classifier of the bundled model's images, without a network: background, shape, colour, size and position.

The background is the colour of the image's edge, and the shape is everything that differs from it. Its kind and size
are those of the rendered template that overlaps it best when placed on the same centre of mass. A field that cannot be
read is "unclear".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from imagemill.models.bundled.scenes import CENTRES, COLOURS, IMAGE_SIZE, RADII, SHAPES, Scene, coverage

UNCLEAR = "unclear"
FURTHEST_COLOUR = 60.0  # RGB distance up to which a colour still has its name; the nearest two names are 95 apart
LEAST_CONTRAST = 50.0  # RGB distance from the background at which a pixel belongs to the shape
LEAST_PIXELS = 20
LEAST_OVERLAP = 0.65
SCALES = np.array([0.94, 1.0, 1.06], np.float32)  # scenes vary their radius by 5 %
GRID = np.arange(IMAGE_SIZE) + 0.5


@dataclass(frozen=True)
class Reading:
    """The judge's result. `overlap` is the shape's with its best template (0..1), `centre` its middle in pixels."""

    scene: Scene
    overlap: float
    centre: tuple[float, float]

    def differences(self, expected: Scene) -> set[str]:
        """The fields of the scene that differ from the expected one."""
        return {name for name in Scene.__dataclass_fields__ if getattr(self.scene, name) != getattr(expected, name)}


def name_of(colour: np.ndarray) -> str:
    """The nearest colour's name, or "unclear" if none is near. `colour` is RGB in 0..255, (3,)."""
    distances = {name: float(np.linalg.norm(colour - np.array(rgb))) for name, rgb in COLOURS.items()}
    nearest = min(distances, key=distances.__getitem__)
    return nearest if distances[nearest] <= FURTHEST_COLOUR else UNCLEAR


def _middle(masks: np.ndarray) -> np.ndarray:
    """The centres of mass of (n, 64, 64) masks, in pixels: (n, 2) as x, y."""
    weight = masks.sum(axis=(1, 2))
    return np.stack([(masks * GRID).sum(axis=(1, 2)), (masks * GRID[:, None]).sum(axis=(1, 2))], 1) / weight[:, None]


@cache
def _offsets(shape: str, size: str) -> np.ndarray:
    """Offsets of the templates' centres of mass from their centres: (scales, 2) in pixels."""
    middle = np.full(len(SCALES), IMAGE_SIZE / 2)
    return _middle(coverage(shape, middle, middle, RADII[size] * SCALES)) - IMAGE_SIZE / 2


def _best_template(mask: np.ndarray) -> tuple[str, str, float, tuple[float, float]]:
    """Shape, size, overlap and centre of the template with the largest overlap with the (64, 64) mask."""
    middle = _middle(mask[None])[0]
    found = []
    for shape in SHAPES:
        for size, radius in RADII.items():
            centres = middle - _offsets(shape, size)
            templates = coverage(shape, centres[:, 0], centres[:, 1], radius * SCALES)
            overlaps = np.minimum(mask, templates).sum(axis=(1, 2)) / np.maximum(mask, templates).sum(axis=(1, 2))
            best = int(overlaps.argmax())
            found.append((shape, size, float(overlaps[best]), (float(centres[best, 0]), float(centres[best, 1]))))
    return max(found, key=lambda candidate: candidate[2])


def read(image: Image.Image) -> Reading:
    """Judge one image of 64x64 pixels."""
    pixels = np.asarray(image.convert("RGB"), np.float32)
    if pixels.shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"The judge reads {IMAGE_SIZE}x{IMAGE_SIZE} images, not {image.width}x{image.height}.")
    border = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3)])
    border = np.concatenate([border, pixels[:, :2].reshape(-1, 3), pixels[:, -2:].reshape(-1, 3)])
    paper = np.median(border, axis=0)
    background = name_of(paper)

    distance = np.linalg.norm(pixels - paper, axis=2)
    inside = distance > max(LEAST_CONTRAST, 0.6 * float(np.percentile(distance, 99)))
    if inside.sum() < LEAST_PIXELS:
        return Reading(Scene(UNCLEAR, UNCLEAR, background, UNCLEAR, UNCLEAR), 0.0, (0.0, 0.0))
    ink = np.median(pixels[inside], axis=0)
    step = ink - paper
    # Stretched, so that faint noise far from the shape does not add up to another shape.
    mask = np.clip(2 * ((pixels - paper) @ step / (step @ step)) - 0.5, 0, 1)
    shape, size, overlap, centre = _best_template(mask)
    if overlap < LEAST_OVERLAP:
        shape = size = UNCLEAR
    position = min(CENTRES, key=lambda name: np.hypot(centre[0] - CENTRES[name][0], centre[1] - CENTRES[name][1]))
    return Reading(Scene(shape, name_of(ink), background, size, position), overlap, centre)
