"""Kinds of the carried columns of a build: those that the dataset was begun with, or those of the loaded rows."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from imagemill.data.dataset.carried.arrow_kinds import ColumnKind, type_of
from imagemill.data.dataset.carried.begun import Begun
from imagemill.data.dataset.carried.begun_with import old_columns
from imagemill.data.dataset.carried.values import Misfit, carried_value
from imagemill.data.dataset.folder import Folder
from imagemill.data.messages import shown
from imagemill.data.planning.column_notes import CarriedNotes
from imagemill.data.planning.worklist import Worklist

log = logging.getLogger("imagemill")

OTHER = "other_values"
"""Column of the values that do not fit into their own columns: a JSON object a row."""


def settle_columns(
    notes: CarriedNotes, begun: Begun | None, folder: Folder, worklist: Worklist, keeps_removed: bool
) -> tuple[dict[str, ColumnKind], Begun]:
    """The kinds of the columns, and what the dataset was begun with, all columns known.

    ``begun``: None for a dataset without rows; ``keeps_removed``: whether rows stay that the prompts no longer have.
    """
    fresh = notes.kinds()
    if begun is None:
        return fresh, Begun()
    if begun.is_old and not begun.columns:
        begun = old_columns(folder, notes.old_kinds(), lambda ids: _note_among(ids, worklist).old_kinds())
    kinds = {name: _kept(begun.kinds.get(name), kind) for name, kind in fresh.items()}
    if begun.is_old:
        # That version had no column without a value.
        kinds = {name: kind for name, kind in kinds.items() if kind != "null"}
    elif keeps_removed:
        kinds = {**begun.kinds, **kinds}
    doubtful = {name: begun.kinds[name] for name in kinds.keys() & begun.kinds.keys() & notes.columns.keys()}
    doubtful = {name: kind for name, kind in doubtful.items() if notes.columns[name].may_misfit(kind)}
    if doubtful and _report_misfits(worklist, doubtful) and not begun.other:
        begun = replace(begun, other=_free_name(begun))
    return dict(sorted(kinds.items())), begun


def _note_among(ids: Collection[str], worklist: Worklist) -> CarriedNotes:
    notes = CarriedNotes()
    for row in worklist.rows():
        if row.id in ids:
            notes.add(row.carried, ())
    return notes


def _kept(begun: ColumnKind | None, now: ColumnKind) -> ColumnKind:
    if begun is None or begun == "null":
        return now
    # The same values in the same type, with a note that a value may be JSON.
    return "mixed" if begun == "str" and now not in ("str", "null") else begun


def _report_misfits(worklist: Worklist, kinds: Mapping[str, ColumnKind]) -> int:
    """Log the rows whose values do not fit into columns of these kinds; returns the number of rows."""
    rows = 0
    first: dict[str, tuple[int, Any]] = {}
    for row in worklist.rows():
        misfits = [name for name, kind in kinds.items() if not _fits(row.carried.get(name), kind)]
        rows += bool(misfits)
        for name in misfits:
            first.setdefault(name, (row.line, row.carried[name]))
    if rows:
        examples = "; ".join(
            f"{shown(name)} is {type_of(kinds[name])}, and line {line} has {shown(value)}"
            for name, (line, value) in first.items()
        )
        log.warning(
            "%d rows have a value that does not fit into the type that its column has in the dataset, which does not "
            "change: there it is null, and the value is JSON in the column %s. %s.",
            rows,
            OTHER,
            examples,
        )
    return rows


def _fits(value: Any, kind: ColumnKind) -> bool:
    try:
        carried_value(value, kind)
    except Misfit:
        return False
    return True


def _free_name(begun: Begun) -> str:
    name, number = OTHER, 1
    while name in begun.columns.values():
        number += 1
        name = f"{OTHER}_{number}"
    return name
