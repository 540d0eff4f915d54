"""The folders of an export in pairs, grouped as trainers take them: training images, and their controls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imagemill.data.export.entry import Summary


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with as many controls as each other."""

    folder: Path
    """Absolute; ``target`` and the others are in it."""
    controls: tuple[Path, ...]
    """control, control_1, ..."""
    mask: Path | None

    @property
    def target(self) -> Path:
        """The folder of the training images and their captions."""
        return self.folder / "target"


def groups_of(summary: Summary) -> list[Group]:
    """The groups of an export, by their folders."""
    places = sorted(PurePosixPath(folder) for folder in summary.folders)
    found = []
    for target in (place for place in places if place.name == "target"):
        beside = sorted((place for place in places if place.parent == target.parent), key=_number)
        root = summary.choices.target
        controls = tuple(root / place for place in beside if place.name.startswith("control"))
        mask = next((root / place for place in beside if place.name == "mask"), None)
        found.append(Group(root / target.parent, controls, mask))
    return found


def _number(place: PurePosixPath) -> int:
    number = place.name.partition("_")[2]
    return int(number) if number.isdecimal() else 0


def bucket_limits(summary: Summary, steps: int = 64) -> tuple[int, int]:
    """The shortest and the longest side of buckets in pixels, as multiples of ``steps``."""
    sides = [side for size in summary.sizes for side in size] or list(summary.size)
    return max(steps, min(sides) // steps * steps), max(steps, -(-max(sides) // steps) * steps)
