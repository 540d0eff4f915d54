"""Packing of rows into shards: each shard has one model for its first step, so that every model is loaded once."""

from __future__ import annotations

from collections.abc import Sequence


class ShardPacker:
    """Assigns groups of rows to shards of at most ``size`` rows; a larger group has a shard to itself."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.steps: list[str] = []
        """The first step of each shard's rows."""
        self._open: dict[str, tuple[int, int]] = {}
        """First step -> the shard that is being filled, and its rows."""

    def place(self, step: str, rows: int) -> int:
        """The shard of a group of rows whose first step is ``step``."""
        shard, filled = self._open.get(step, (-1, 0))
        if shard < 0 or (filled and filled + rows > self.size):
            shard, filled = len(self.steps), 0
            self.steps.append(step)
        self._open[step] = (shard, filled + rows)
        return shard

    def order(self, steps: Sequence[str]) -> list[int]:
        """The new number of each shard, with which those of one model follow each other, in the order of ``steps``."""
        ranked = sorted(range(len(self.steps)), key=lambda shard: (steps.index(self.steps[shard]), shard))
        order = [0] * len(ranked)
        for number, shard in enumerate(ranked):
            order[shard] = number
        return order
