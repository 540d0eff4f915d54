"""The bundled model's world: a coloured shape on a coloured background, drawn and edited by a seeded script.

An image is 64x64, uint8 RGB. A scene says shape, colour, background, size and position; 3,360 scenes exist. One in
ten is held out by a hash: training never draws it, neither as an image nor as an edit's source or target, and the
benchmark asks for nothing else. Within a scene the centre moves by up to 1.5 pixels and the radius by up to 5 %.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cache
from itertools import product

import numpy as np

IMAGE_SIZE = 64
COLOURS = {
    "red": (220, 40, 40),
    "orange": (250, 140, 20),
    "yellow": (250, 225, 50),
    "green": (40, 160, 70),
    "blue": (40, 80, 220),
    "purple": (140, 50, 180),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
RADII = {"small": 8.0, "large": 14.0}
CENTRES = {"centre": (32, 32), "left": (18, 32), "right": (46, 32), "top": (32, 18), "bottom": (32, 46)}
EDITS = ("recolour", "background", "replace", "larger", "smaller")


@dataclass(frozen=True)
class Scene:
    shape: str
    colour: str
    background: str
    size: str
    position: str


def _circle(x, y, r):
    return np.hypot(x, y) - r


def _square(x, y, r):
    return np.maximum(abs(x), abs(y)) - 0.86 * r


def _triangle(x, y, r):
    sides = (1.85 * abs(x) - 1.08 * (y + r)) / np.hypot(1.85, 1.08)
    return np.maximum(sides, y - 0.85 * r)


def _star(x, y, r):
    """A five-pointed star's signed distance by folding the plane (after Inigo Quilez's sdStar5)."""
    r = 1.15 * r
    kx, ky = np.cos(np.pi / 5), -np.sin(np.pi / 5)
    x, y = abs(x), -y
    for sign in (1, -1):
        fold = 2 * np.maximum(sign * kx * x + ky * y, 0)
        x, y = x - fold * sign * kx, y - fold * ky
    x, y = abs(x), y - r
    edge_x, edge_y = -0.42 * ky, 0.42 * kx - 1
    along = np.clip((x * edge_x + y * edge_y) / (edge_x**2 + edge_y**2), 0, r)
    return np.hypot(x - edge_x * along, y - edge_y * along) * np.sign(y * edge_x - x * edge_y)


def _ring(x, y, r):
    return abs(np.hypot(x, y) - 0.77 * r) - 0.23 * r


def _cross(x, y, r):
    x, y = abs(x), abs(y)
    return np.maximum(np.minimum(x, y) - 0.34 * r, np.maximum(x, y) - r)


SHAPES = {"circle": _circle, "square": _square, "triangle": _triangle, "star": _star, "ring": _ring, "cross": _cross}


def coverage(shape: str, x, y, radius) -> np.ndarray:
    """Share of each pixel that the shapes cover, (n, 64, 64) in 0..1, from centres and radii in pixels, each (n,)."""
    grid = np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5
    x, y, radius = (np.asarray(value, np.float32).reshape(-1, 1, 1) for value in (x, y, radius))
    return np.clip(0.5 - SHAPES[shape](grid[None, None, :] - x, grid[None, :, None] - y, radius), 0, 1)


def draw_jitter(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 3): how far each image's centre moves in x and y, in pixels, and what its radius is multiplied by."""
    return rng.uniform((-1.5, -1.5, 0.95), (1.5, 1.5, 1.05), (n, 3)).astype(np.float32)


def draw(scenes: Sequence[Scene], jitter: np.ndarray) -> np.ndarray:
    """The scenes as uint8 images (n, 64, 64, 3), edges smoothed. A scene and its edit share one row of jitter."""
    centres = np.array([CENTRES[scene.position] for scene in scenes], np.float32) + jitter[:, :2]
    radii = np.array([RADII[scene.size] for scene in scenes], np.float32) * jitter[:, 2]
    shapes = np.array([scene.shape for scene in scenes])
    masks = np.empty((len(scenes), IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for shape in set(shapes.tolist()):
        rows = shapes == shape
        masks[rows] = coverage(shape, centres[rows, 0], centres[rows, 1], radii[rows])
    ink = np.array([COLOURS[scene.colour] for scene in scenes], np.float32)[:, None, None]
    paper = np.array([COLOURS[scene.background] for scene in scenes], np.float32)[:, None, None]
    return np.rint(paper + (ink - paper) * masks[..., None]).astype(np.uint8)


def is_held_out(scene: Scene) -> bool:
    return zlib.crc32(" ".join(astuple(scene)).encode()) % 10 == 0


@cache
def all_scenes(held_out: bool) -> tuple[Scene, ...]:
    """Every scene that training may draw, or every scene that it may not."""
    every = (Scene(*values) for values in product(SHAPES, COLOURS, COLOURS, RADII, CENTRES) if values[1] != values[2])
    return tuple(scene for scene in every if is_held_out(scene) == held_out)


@cache
def _edits_of(scene: Scene, kind: str) -> tuple[Scene, ...]:
    """The scenes that one edit of this kind leads to, on the same side of the held-out line as the scene itself."""
    targets = {
        "recolour": [replace(scene, colour=c) for c in COLOURS if c not in (scene.colour, scene.background)],
        "background": [replace(scene, background=c) for c in COLOURS if c not in (scene.colour, scene.background)],
        "replace": [replace(scene, shape=s) for s in SHAPES if s != scene.shape],
        "larger": [replace(scene, size="large")] if scene.size == "small" else [],
        "smaller": [replace(scene, size="small")] if scene.size == "large" else [],
    }[kind]
    return tuple(target for target in targets if is_held_out(target) == is_held_out(scene))


def sample_scenes(rng: np.random.Generator, n: int, held_out: bool = False) -> list[Scene]:
    scenes = all_scenes(held_out)
    return [scenes[i] for i in rng.integers(len(scenes), size=n)]


def sample_edits(rng: np.random.Generator, n: int, held_out: bool = False) -> list[tuple[Scene, str, Scene]]:
    """`n` edits as (before, kind, after), the kinds equally often; both scenes on one side of the held-out line."""
    edits: list[tuple[Scene, str, Scene]] = []
    while len(edits) < n:
        kind = EDITS[len(edits) % len(EDITS)]
        before = sample_scenes(rng, 1, held_out)[0]
        if targets := _edits_of(before, kind):
            edits.append((before, kind, targets[rng.integers(len(targets))]))
    return [edits[i] for i in rng.permutation(n)]
