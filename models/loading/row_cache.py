"""A part of a pipeline that remembers: a batch whose rows were all computed before is put together from memory.

What is remembered was computed in a batch of the same shape, so it has the bits that computing it again would give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch


class RowMemory(ABC):
    """Stands in for a function of batches, row by row; keeps ``size`` bytes of its newest rows, where it puts them."""

    def __init__(self, function: Callable[..., Any], size: int) -> None:
        self._function = function
        self._room = size
        self._rows: OrderedDict[Hashable, Any] = OrderedDict()

    @abstractmethod
    def keys(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Hashable]:
        """All that decides each row of a call's output, the batch's size too; none where that cannot be told."""

    @abstractmethod
    def rows(self, output: Any, count: int) -> list[Any]:
        """The rows of an output for a batch of ``count``, of tensors of their own; none where it is no such batch."""

    @abstractmethod
    def whole(self, rows: list[Any]) -> Any:
        """The output that has these rows."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's output."""
        keys = self.keys(args, kwargs)
        if keys and all(key in self._rows for key in keys):
            for key in keys:
                self._rows.move_to_end(key)
            return self.whole([self._rows[key] for key in keys])
        output = self._function(*args, **kwargs)
        for key, row in zip(keys, self.rows(output, len(keys)), strict=False):
            self._remember(key, row)
        return output

    def _remember(self, key: Hashable, row: Any) -> None:
        if key in self._rows:
            self._rows.move_to_end(key)
            return
        self._rows[key] = row
        self._room -= bytes_of(row)
        while self._room < 0:
            _, oldest = self._rows.popitem(last=False)
            self._room += bytes_of(oldest)


def is_plain(value: Any) -> bool:
    """Whether an argument can be part of a key as it is."""
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


def bytes_of(row: Any) -> int:
    """Of the tensors in a row."""
    if isinstance(row, torch.Tensor):
        return row.nbytes
    values = row.values() if isinstance(row, Mapping) else row or ()
    return sum(map(bytes_of, values))
