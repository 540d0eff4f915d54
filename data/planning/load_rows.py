"""From the prompts to the rows of the worklist, bad lines set aside."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.schema import Kind, carried_kind, merge_kinds
from imagemill.data.errors import BadRow, BuildFailed, InputError
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.expansion import Variations
from imagemill.data.prompts.image_fetcher import ImageFetcher
from imagemill.data.prompts.line_formats import Record
from imagemill.data.prompts.reader import read_records
from imagemill.data.prompts.row_maker import RowMaker
from imagemill.data.records import Loaded, SetAside

AHEAD = 64
"""Records that are read before their turn, so that images which rows name by URL are fetched a few at a time."""


def load_rows(recipe: Recipe, worklist: Worklist, given: Path | None = None) -> Loaded:
    """Read the recipe's prompts into the worklist, bad lines with their reasons beside the good ones.

    Images that rows name by URL go into the folder ``given``, by default the build's. Raises InputError where no line
    is good, or servers do not answer, BuildFailed at the first bad line if the recipe says stop.
    """
    with ImageFetcher(given or Folder(recipe.output).given) as images:
        return _load(recipe, worklist, RowMaker(recipe, images))


def _load(recipe: Recipe, worklist: Worklist, make: RowMaker) -> Loaded:
    vary = Variations(recipe)
    kinds: dict[str, Kind] = {}
    rows = faults = 0

    def set_aside(line: int, row_id: str | None, error: BadRow) -> None:
        fault = SetAside("load", row_id, recipe.rows_from, line, str(error))
        if recipe.on_bad_row == "stop":
            raise BuildFailed(f"{fault.file}, line {line}: {fault.reason} (on_bad_row is 'stop').") from error
        worklist.add_fault(fault)

    for record in _records(recipe, make):
        try:
            if record.fields is None:
                raise BadRow(record.fault)
            variants = vary.of(record.fields)
        except BadRow as error:
            set_aside(record.line, make.own_id(record.fields), error)
            faults += 1
            continue
        for fields, mark in variants:
            try:
                asked = list(make.rows(fields, record.line, mark))
            except BadRow as error:
                set_aside(record.line, make.own_id(fields), error)
                faults += 1
                continue
            for own_id, row in asked:
                try:
                    worklist.add_row(own_id, row)
                except BadRow as error:
                    set_aside(record.line, own_id, error)
                    faults += 1
                else:
                    _note_kinds(row.carried, kinds)
                    rows += 1
    if not rows:
        first = next(worklist.faults(), None)
        why = f"the first of {faults}: line {first.line}, {first.reason}" if first else "it is empty"
        what = f"the prompts file {recipe.prompts!r}" if recipe.prompts else recipe.rows_from
        raise InputError(f"{what} has no good row ({why}).")
    return Loaded(rows, faults, dict(sorted(kinds.items())))


def _records(recipe: Recipe, make: RowMaker) -> Iterable[Record]:
    if not recipe.prompts:
        return [Record(1, {})]
    records = read_records(recipe.prompts_path, make.image_fields)
    return _ahead(records, make) if make.image_roles else records


def _ahead(records: Iterator[Record], make: RowMaker) -> Iterator[Record]:
    waiting: deque[Record] = deque()
    for record in records:
        make.fetch_ahead(record.fields)
        waiting.append(record)
        if len(waiting) >= AHEAD:
            yield waiting.popleft()
    yield from waiting


def _note_kinds(carried: Mapping[str, Any], kinds: dict[str, Kind]) -> None:
    for name, value in carried.items():
        if value is None:
            continue
        kind = carried_kind(value)
        known = kinds.get(name)
        if known != kind:
            kinds[name] = kind if known is None else merge_kinds(known, kind)
