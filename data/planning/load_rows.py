"""Loader of the prompts into the worklist; bad lines are set aside with their reasons."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from imagemill.data.answers.budget import NotAsked
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.carried.begun_with import begun_with
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BadRow, BuildFailed, InputError, RecipeError
from imagemill.data.messages import shown_path
from imagemill.data.plain_values import is_plain, plain
from imagemill.data.planning.carried_columns import settle_columns
from imagemill.data.planning.column_notes import CarriedNotes
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.words.asks import LOOKAHEAD, Asks
from imagemill.data.planning.words.unasked import Unasked
from imagemill.data.planning.words.worded import Copy, Words
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.expansion import Variations
from imagemill.data.prompts.field_names import role_names
from imagemill.data.prompts.formats.line_formats import Record
from imagemill.data.prompts.image_fetcher import ImageFetcher
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.prompts.reader import read_records
from imagemill.data.prompts.row import Row
from imagemill.data.prompts.row_images import RowImages
from imagemill.data.prompts.row_maker import RowMaker
from imagemill.data.prompts.texts import doubt_of
from imagemill.data.records import SetAside

MAX_UNASKED_LISTED = 1000
"""Rows not asked yet that are listed; the others are counted."""


def load_rows(recipe: Recipe, worklist: Worklist, image_folder: Path | None = None, asks: Asks | None = None) -> Loaded:
    """Read the recipe's prompts into the worklist: good rows, and bad lines with their reasons.

    Images named by URL are downloaded into ``image_folder``, by default the build's. ``asks`` answers the questions
    of recipe.llm. Raises InputError if no line is good or image servers do not answer, BuildFailed at the first bad
    line if on_bad_row is stop.
    """
    locations = ImageLocations(recipe.prompts_path, recipe.images.allow_hosts)
    folder = Folder(recipe.output)
    with ImageFetcher(image_folder or folder.given, locations) as fetcher:
        conventions = folder.conventions()
        row_maker = RowMaker(recipe, RowImages(locations, fetcher, recipe.images), conventions)
        words = Words(recipe, row_maker, asks) if recipe.llm and asks is not None else None
        return _load(recipe, worklist, row_maker, conventions, words)


def _load(recipe: Recipe, worklist: Worklist, row_maker: RowMaker, conventions: int, words: Words | None) -> Loaded:
    variations = Variations(recipe)
    notes, folder = CarriedNotes(), Folder(recipe.output)
    begun = begun_with(folder)
    if begun and recipe.columns.retype:
        begun = None
        if recipe.on_removed == "keep":
            raise RecipeError(
                "recipe.columns.retype writes all rows again, and on_removed: keep keeps rows that the prompts no "
                "longer have: leave out one of them."
            )
    # Version 0.1.0 stored a float that is not finite as null, and its rows' keys say so.
    converted = frozenset(recipe.columns.carry_binary) if begun and begun.is_old else None
    rows = faults = unasked = 0

    def set_aside(line: int, row_id: str | None, error: BadRow) -> None:
        fault = SetAside("load", row_id, recipe.rows_from, line, str(error))
        if recipe.on_bad_row == "stop":
            raise BuildFailed(f"{fault.file}, line {line}: {fault.reason} (on_bad_row is 'stop').") from error
        worklist.add_fault(fault)

    for record, copy in _copies(_records(recipe, row_maker), words):
        given_id, may_repeat = copy.given_id or (None, False)
        try:
            if isinstance(copy.fault, NotAsked):
                unasked += 1
                if unasked <= MAX_UNASKED_LISTED:
                    worklist.add_fault(_not_asked(recipe, record, given_id, copy.fault))
                continue
            if copy.fault is not None:
                raise copy.fault
            variants = variations.of(copy.fields)
        except BadRow as error:
            set_aside(record.line, given_id or row_maker.own_id(record.fields), error)
            faults += 1
            continue
        if record.types:
            notes.declare(record.types, row_maker.carried)
        for fields, mark, settings in variants:
            try:
                rows_of_variant = list(row_maker.rows(fields, record.line, mark, record.heading, settings, given_id))
            except BadRow as error:
                own_id = given_id or row_maker.own_id(fields)
                set_aside(record.line, own_id, BadRow(record.doubt) if record.doubt else error)
                faults += 1
                continue
            for own_id, row in rows_of_variant:
                doubt = row.doubt or record.doubt or doubt_of(row)
                try:
                    stored = _storable(row._replace(doubt=doubt) if doubt else row, converted)
                    worklist.add_row(own_id, stored, may_repeat)
                except BadRow as error:
                    set_aside(record.line, own_id, error)
                    faults += 1
                else:
                    # A row in doubt is built only if the dataset has it.
                    if not doubt or begun:
                        notes.add(row.carried, record.types or ())
                    rows += 1
    if not rows and not unasked:
        first = next(worklist.faults(), None)
        reason = f"the first of {faults}: line {first.line}, {first.reason}" if first else "it is empty"
        source = f"the prompts file {shown_path(recipe.prompts)}" if recipe.prompts else recipe.rows_from
        raise InputError(f"{source} has no good row ({reason}).")
    # Rows that the dataset has may be among those that are not asked yet: none leaves it.
    keeps_removed = recipe.on_removed == "keep" or unasked > 0
    kinds, begun = settle_columns(notes, begun, folder, worklist, keeps_removed=keeps_removed)
    version = folder.encoding_version()
    return Loaded(rows, faults, kinds, begun, conventions, version, words.unasked if words else Unasked())


def _copies(records: Iterable[Record], words: Words | None) -> Iterator[tuple[Record, Copy]]:
    """Each record, with its words, as often as there are rows to make of it."""
    if words is None:
        for record in records:
            fault = BadRow(record.fault) if record.fields is None else None
            yield record, Copy(record.fields or {}, fault=fault)
        return
    for record, copies in words.of(records):
        for copy in copies:
            yield record, copy


def _not_asked(recipe: Recipe, record: Record, row_id: str | None, why: NotAsked) -> SetAside:
    return SetAside("load", row_id, recipe.rows_from, record.line, f"not asked yet: {why}", counts=False)


def _records(recipe: Recipe, row_maker: RowMaker) -> Iterable[Record]:
    if not recipe.prompts:
        return [Record(1, {})]
    seen = frozenset(name for step in recipe.llm for name in step.sees)

    def image_fields(heading: Collection[str]) -> frozenset[str]:
        return row_maker.roles.image_fields(heading) | seen.intersection(heading)

    records = read_records(recipe.prompts_path, image_fields, role_names(recipe))
    return _with_prefetch(records, row_maker, seen) if row_maker.roles.image_roles or seen else records


def _with_prefetch(records: Iterator[Record], row_maker: RowMaker, seen: Collection[str]) -> Iterator[Record]:
    pending: deque[Record] = deque()
    for record in records:
        row_maker.prefetch(record.fields, record.heading, seen)
        pending.append(record)
        if len(pending) >= LOOKAHEAD:
            yield pending.popleft()
    yield from pending


def _storable(row: Row, converted: Collection[str] | None) -> Row:
    """The row with carried values that JSON holds. ``converted``: the only columns to convert, if not all are."""
    values = row.carried
    if converted is None and all(map(is_plain, values.values())):
        return row
    names = values.keys() if converted is None else converted & values.keys()
    return row._replace(carried={**values, **{name: plain(values[name]) for name in names}}) if names else row
