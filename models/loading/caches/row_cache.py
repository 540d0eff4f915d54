"""Cache of a pipeline part's output, row by row: a batch whose rows are all cached is assembled, not computed.

A cached row was computed in a batch of the same shape, so it has the bits that computing it again would give.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch


class RowCache(ABC):
    """Replaces a function of batches; caches ``size`` bytes of rows, least recently used evicted first."""

    def __init__(self, function: Callable[..., Any], size: int) -> None:
        self._function = function
        self._free = size
        self._rows: OrderedDict[Hashable, Any] = OrderedDict()

    @abstractmethod
    def keys(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Hashable]:
        """Keys of a call's rows: all that decides each row's output, with the batch's size; none if that is unknown."""

    @abstractmethod
    def rows(self, output: Any, count: int) -> list[Any]:
        """Copies of an output's rows, for a batch of ``count``; none if it is not such a batch."""

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
            self._add(key, row)
        return output

    def _add(self, key: Hashable, row: Any) -> None:
        if key in self._rows:
            self._rows.move_to_end(key)
            return
        self._rows[key] = row
        self._free -= bytes_of(row)
        while self._free < 0:
            _, oldest = self._rows.popitem(last=False)
            self._free += bytes_of(oldest)


def is_plain(value: Any) -> bool:
    """True if an argument can be part of a key as it is."""
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


def bytes_of(row: Any) -> int:
    """Size of the tensors in a row."""
    if isinstance(row, torch.Tensor):
        return row.nbytes
    values = row.values() if isinstance(row, Mapping) else row or ()
    return sum(map(bytes_of, values))
