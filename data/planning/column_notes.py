"""Inference of carried columns' kinds: what the values of each column are, noted while the rows are loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa

from imagemill.data.dataset.carried.arrow_kinds import UINT64, ColumnKind, kind_of, storable_type
from imagemill.data.planning.value_shapes import EXACT, Shape, merge_shapes, shape_of, type_of_shape

_BOOL, _TEXT, _FLOAT, _INT, _NEGATIVE, _BIG, _UINT, _HUGE, _NESTED = (1 << place for place in range(9))
_INTEGERS = _INT | _NEGATIVE | _BIG
_BITS = {bool: _BOOL, str: _TEXT, float: _FLOAT, type(None): 0}


class ColumnNotes:
    """Contents of one column."""

    __slots__ = ("bits", "declared", "is_free", "shape")

    def __init__(self) -> None:
        self.bits = 0
        self.shape: Shape = "null"
        """Of its lists and objects."""
        self.declared: set[ColumnKind | None] = set()
        """Kinds of the types that files declare; None for a type that no dataset stores."""
        self.is_free = False
        """True if a value comes from a file that declares no types."""

    def kind(self) -> ColumnKind:
        """The kind of the column in a dataset that begins with these values."""
        declared = self.declared - {"null"} or self.declared
        if len(declared) == 1 and not self.is_free and (kind := next(iter(declared))):
            return kind
        bits = self.bits
        if bits & _TEXT:
            return "str" if bits == _TEXT else "mixed"
        if bits == _NESTED:
            arrow = type_of_shape(self.shape)
            return "json" if arrow is None else kind_of(arrow)
        return _number_kind(bits) or "json"

    def old_kind(self) -> ColumnKind:
        """The kind that version 0.1.0 gave to such values."""
        kinds = {
            "bool": self.bits & _BOOL,
            "int": self.bits & (_INT | _BIG),
            "float": self.bits & _FLOAT,
            "str": self.bits & _TEXT,
            "json": self.bits & (_UINT | _HUGE | _NESTED),
        }
        found = {kind for kind, bits in kinds.items() if bits}
        if found == {"int", "float"}:
            return "float"
        return "json" if len(found) > 1 else next(iter(found), "null")

    def may_misfit(self, kind: ColumnKind) -> bool:
        """True if a value may not fit into a column of this kind."""
        return kind not in ("str", "mixed", "json") and self.kind() not in (kind, "null")


def _number_kind(bits: int) -> ColumnKind | None:
    if not bits:
        return "null"
    if bits == _BOOL:
        return "bool"
    if not bits & ~_INTEGERS:
        return "int"
    if not bits & ~(_INT | _BIG | _UINT):
        return UINT64
    # A larger integer would be rounded.
    return "float" if not bits & ~(_FLOAT | _INT | _NEGATIVE) else None


class CarriedNotes:
    """The notes of all columns."""

    def __init__(self) -> None:
        self.columns: dict[str, ColumnNotes] = {}
        self._declared: Mapping[str, pa.DataType] | None = None

    def declare(self, types: Mapping[str, pa.DataType], carried: Callable[[Iterable[str]], Iterable[str]]) -> None:
        """Note a file's types: its carried columns are in the dataset even if no row has a value."""
        if types is self._declared:
            return
        self._declared = types
        for name in carried(types):
            arrow = storable_type(types[name])
            self._of(name).declared.add(arrow if arrow is None else kind_of(arrow))

    def add(self, carried: Mapping[str, Any], declared: Collection[str]) -> None:
        """Note the values of a row. ``declared``: columns whose types its file declares."""
        columns = self.columns
        for name, value in carried.items():
            column = columns.get(name) or self._of(name)
            if name not in declared:
                column.is_free = True
            bits = _BITS.get(type(value))
            if bits is None:
                bits = _integer_bits(value) if isinstance(value, int) else self._nested(column, value)
            column.bits |= bits

    def kinds(self) -> dict[str, ColumnKind]:
        """The kind of each column in a dataset that begins with these rows."""
        return {name: column.kind() for name, column in sorted(self.columns.items())}

    def old_kinds(self) -> dict[str, ColumnKind]:
        """The kind that version 0.1.0 gave to each column."""
        return {name: column.old_kind() for name, column in sorted(self.columns.items())}

    def _of(self, name: str) -> ColumnNotes:
        return self.columns.setdefault(name, ColumnNotes())

    @staticmethod
    def _nested(column: ColumnNotes, value: Any) -> int:
        if column.shape != "json":
            # A declared type needs no shape; where files declare several, the values become JSON text.
            column.shape = merge_shapes(column.shape, shape_of(value)) if column.is_free else "json"
        return _NESTED


def _integer_bits(value: int) -> int:
    if -EXACT <= value <= EXACT:
        return _INT if value >= 0 else _INT | _NEGATIVE
    if -(2**63) <= value < 2**63:
        return _BIG if value > 0 else _BIG | _NEGATIVE
    return _UINT if 0 < value < 2**64 else _HUGE
