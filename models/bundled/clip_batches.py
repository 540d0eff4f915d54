"""Batches for the bundled scorer: scenes in groups that differ in one field, texts as tokens, images with faults.

Half of the images have small faults as a model's have them. Further images are spoilt in the ways that the bundled
model's wrong images are: no text describes them, so each text should score lower for them than for its own image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from imagemill.models.bundled.architecture import make_tokenizer
from imagemill.models.bundled.reading import FIELDS
from imagemill.models.bundled.scenes import (
    CENTRES,
    COLOURS,
    IMAGE_SIZE,
    RADII,
    SHAPES,
    Scene,
    all_scenes,
    draw,
    draw_jitter,
)
from imagemill.models.bundled.typed import describe_typed
from imagemill.models.bundled.wording import describe

CHANGED = ("shape", "colour", "background", "size", "position", "shape", "position")  # in a group, one scene each
GROUP = 1 + len(CHANGED)
SPOILT_PER_GROUP = 2
TEXTS_PER_SCENE = 48
UNKNOWN_WORD_SHARE = 0.1
MEAN = STD = 0.5  # of the image processor: pixels in -1..1
GRID = np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5


def pixels_of(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) -> float (n, 3, 64, 64) in -1..1, as the image processor does it."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / (255 * STD) - MEAN / STD


class World:
    """The scenes that training may draw, with their texts as tokens and their fields as classes."""

    def __init__(self, seed: int, texts_per_scene: int = TEXTS_PER_SCENE):
        self.scenes = all_scenes(held_out=False)
        self.number = {scene: i for i, scene in enumerate(self.scenes)}
        classes = [[list(v).index(getattr(scene, name)) for name, v in FIELDS.items()] for scene in self.scenes]
        self.classes = torch.tensor(classes)
        rng = np.random.default_rng((7, seed))
        wordings = [(describe, describe_typed)[i % 2] for i in range(texts_per_scene)]
        texts = [_with_unknown_word(wording(scene, rng), rng) for scene in self.scenes for wording in wordings]
        tokens = make_tokenizer()(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        self.tokens = tokens.unflatten(0, (len(self.scenes), texts_per_scene))
        self.changes = [[self._changes(scene, name) for name in FIELDS] for scene in self.scenes]
        self.columns = [list(FIELDS).index(name) for name in CHANGED]

    def _changes(self, scene: Scene, field: str) -> list[int]:
        others = [replace(scene, **{field: value}) for value in FIELDS[field]]
        return [self.number[other] for other in others if other != scene and other in self.number]

    def groups(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Numbers of scenes (n, GROUP): one, and changes of it in each field of CHANGED."""
        rows = []
        while len(rows) < n:
            first = int(rng.integers(len(self.scenes)))
            options = [self.changes[first][column] for column in self.columns]
            if all(options):
                rows.append([first, *(option[rng.integers(len(option))] for option in options)])
        return np.array(rows)

    def batch(self, rng: np.random.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of `n` groups: scenes' numbers (n * GROUP,), a text's tokens and an image's pixels for each.

        Behind the images come spoilt ones, SPOILT_PER_GROUP of the first group, then of the next.
        """
        groups = self.groups(rng, n)
        numbers = groups.reshape(-1)
        tokens = self.tokens[numbers, rng.integers(self.tokens.shape[1], size=len(numbers))]
        images = draw([self.scenes[i] for i in numbers], draw_jitter(rng, len(numbers)))
        named = [[self.scenes[i] for i in group] for group in groups for _ in range(SPOILT_PER_GROUP)]
        images = np.concatenate([images, np.stack([spoilt(group[0], group[1:], rng) for group in named])])
        return torch.from_numpy(numbers), tokens, _augmented(pixels_of(images), rng)


def _with_unknown_word(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    if rng.random() < UNKNOWN_WORD_SHARE:
        words.insert(rng.integers(len(words) + 1), "[UNK]")
    return " ".join(words)


def _overlaid(scene: Scene, group: list[Scene], jitter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The scene and one of its changes over each other."""
    images = draw([scene, group[rng.integers(len(CHANGED))]], jitter[[0, 0]]).astype(np.float32)
    share = rng.uniform(0.35, 0.65)
    return share * images[0] + (1 - share) * images[1]


def _halved(scene: Scene, group: list[Scene], jitter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A half of the shape wiped out, from its middle to one side."""
    image = draw([scene], jitter)[0].astype(np.float32)
    x, y = (round(middle) for middle in CENTRES[scene.position] + jitter[0, :2])
    sides = (np.s_[:, :x], np.s_[:, x:], np.s_[:y], np.s_[y:])
    image[sides[rng.integers(len(sides))]] = COLOURS[scene.background]
    return image


def _between(scene: Scene, group: list[Scene], jitter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A shape that is between the scene's and another: a weighted mean of their distances to the outline."""
    other = group[CHANGED.index("shape")].shape
    if {scene.shape, other} == {"circle", "ring"}:  # what is between them is a circle
        return _halved(scene, group, jitter, rng)
    share = rng.uniform(0.35, 0.65)
    return _with_ink(scene, {scene.shape: share, other: 1 - share}, jitter, np.array(COLOURS[scene.colour], np.float32))


def _spotted(scene: Scene, group: list[Scene], jitter: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The shape in soft spots of its colour and of another."""
    spots = torch.from_numpy(rng.random((1, 1, 10, 10))).float()
    spots = torch.nn.functional.interpolate(spots, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")[0, 0].numpy()
    inks = [np.array(COLOURS[one.colour], np.float32) for one in (scene, group[CHANGED.index("colour")])]
    share = np.clip(3 * spots - 1, 0, 1)[..., None]
    return _with_ink(scene, {scene.shape: 1.0}, jitter, inks[0] + (inks[1] - inks[0]) * share)


def _with_ink(scene: Scene, shapes: dict[str, float], jitter: np.ndarray, ink: np.ndarray) -> np.ndarray:
    x, y = (GRID - middle for middle in CENTRES[scene.position] + jitter[0, :2])
    radius = RADII[scene.size] * jitter[0, 2]
    distance = sum(share * SHAPES[shape](x[None], y[:, None], radius) for shape, share in shapes.items())
    paper = np.array(COLOURS[scene.background], np.float32)
    return paper + (ink - paper) * np.clip(0.5 - distance, 0, 1)[..., None]


WAYS = (_overlaid, _halved, _between, _between, _spotted)


def spoilt(scene: Scene, group: list[Scene], rng: np.random.Generator) -> np.ndarray:
    """An image (64, 64, 3) that no text describes, made of a scene and the changes of it in its group."""
    way = WAYS[rng.integers(len(WAYS))]
    return np.rint(way(scene, group, draw_jitter(rng, 1), rng)).astype(np.uint8)


def _augmented(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Half of the images with small faults as a model's have them: blur, noise, colours a little off."""
    n = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, *shape))).float()

    blurred = avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    faulty = torch.lerp(pixels, blurred, uniform(0, 1, 1, 1, 1))
    faulty = faulty * uniform(0.9, 1.1, 3, 1, 1) + uniform(-0.1, 0.1, 3, 1, 1)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31))))
    faulty = faulty + noise * uniform(0, 0.08, 1, 1, 1)
    return torch.where(uniform(0, 1, 1, 1, 1) < 0.5, pixels, faulty.clamp(-1, 1))
