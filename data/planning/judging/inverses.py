"""Inverse rows of a recipe: which rows have one, by which instruction, and where it belongs.

They are no candidates: no choice, scorer, pair or search for near-duplicates includes them. Each follows its forward
row, into its split and out of data/ (data.dataset.files.inverse).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import orjson

from imagemill.data.config.chain import edits_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.files.area import DATA
from imagemill.data.dataset.files.inverse import (
    INSTRUCTION,
    Inverse,
    add_inverses,
    forward_key,
    inverse_key,
    inverse_keys,
    is_inverse,
    outcomes_of_inverse,
)
from imagemill.data.dataset.files.placement import Placement
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.planning.judging.looks import Leaf
from imagemill.data.planning.judging.placements import Placements
from imagemill.data.prompts.row import Row

_TABLE = "CREATE TABLE IF NOT EXISTS inverse_rows (row_key TEXT PRIMARY KEY) WITHOUT ROWID"


class Inverses:
    """The inverse rows that a recipe asks for."""

    def __init__(self, recipe: Recipe) -> None:
        self._sections = {link.name: link.section for link in edits_of(recipe) if link.section.inverse}

    @property
    def are_wanted(self) -> bool:
        """True if an edit has inverse rows."""
        return bool(self._sections)

    def instruction(self, leaf: Leaf) -> str | None:
        """The instruction of a row's inverse row; None for a row that has none."""
        planned, seen = leaf.look.planned, leaf.look.seen
        step = base_step(planned.path[-1].step)
        if leaf.is_partial or seen is None or step not in self._sections:
            return None
        return self._texts(planned.row, step)[seen.number]

    def count(self, row: Row) -> tuple[int, int]:
        """(instructions of a prompts-file row that have an inverse one, instructions that lack it)."""
        texts = [text for step in self._sections for text in self._texts(row, step)]
        lacking = texts.count(None)
        return len(texts) - lacking, lacking

    def _texts(self, row: Row, step: str) -> list[str | None]:
        """The inverse instruction for each instruction of a step. One text is for one instruction alone."""
        instructions = self._sections[step].instructions or row.edit_prompts
        value = row.carried.get(INSTRUCTION)
        texts = list(value) if isinstance(value, list | tuple) else [value] if len(instructions) == 1 else []
        texts += [None] * (len(instructions) - len(texts))
        return [text if isinstance(text, str) and text.strip() else None for text in texts[: len(instructions)]]


def places_of(
    placements: Placements, row_keys: Sequence[str], recipe: Recipe, is_planned: bool = False
) -> Mapping[str, Placement]:
    """Places of these stored rows, inverse rows included (Placements.of)."""
    keep_removed = recipe.on_removed == "keep"
    inverse = {key: forward_key(key) for key in row_keys if is_inverse(key)}
    if not inverse:
        return placements.of(row_keys, keep_removed, is_planned)
    forward = list(dict.fromkeys([*(key for key in row_keys if key not in inverse), *inverse.values()]))
    found = placements.of(forward, keep_removed, is_planned)
    wanted = placements.inverses([*inverse.values()]) if Inverses(recipe).are_wanted else {}
    known = placements.known([*inverse.values()]) if Inverses(recipe).are_wanted else set()
    places = {key: found[key] for key in row_keys if key in found}
    for key, of in inverse.items():
        if of in known and of not in found:
            # Its forward row stays as it is: its prompt is gone, or it is not planned yet.
            continue
        is_wanted = of in wanted and inverse_key(of, wanted[of]) == key
        places[key] = _place(found[of]) if is_wanted else Placement(None, "train", {})
    return places


def _place(forward: Placement) -> Placement:
    return Placement(forward.area, forward.split, outcomes_of_inverse(forward.outcomes))


def make_inverses(folder: Folder, schema: DatasetSchema, placements: Placements) -> int:
    """Write the inverse rows that are wanted and lacking; returns how many. All other rows are in their places."""
    connection = placements.connection
    connection.execute(_TABLE)
    connection.execute("DELETE FROM inverse_rows")
    for keys in inverse_keys(folder):
        connection.executemany("INSERT OR IGNORE INTO inverse_rows VALUES (?)", ((key,) for key in keys))
    # The database keeps no journal, so nothing may be left open for an error of the disk that comes later.
    connection.commit()
    return add_inverses(folder, schema, lambda keys: dict(_lacking(placements, keys)))


def _lacking(placements: Placements, row_keys: Sequence[str]) -> Iterator[tuple[str, Inverse]]:
    """Row key -> inverse row, of the rows in data/ that lack theirs."""
    wanted = {key: (inverse_key(key, text), text) for key, text in placements.inverses(row_keys).items()}
    asked = orjson.dumps([key for key, _ in wanted.values()]).decode()
    query = "SELECT row_key FROM inverse_rows WHERE row_key IN (SELECT value FROM json_each(?))"
    present = {key for (key,) in placements.connection.execute(query, (asked,))}
    forward = placements.of([*wanted], keep_removed=True)
    for key, (inverse, text) in wanted.items():
        if inverse not in present and forward[key].area == DATA:
            place = _place(forward[key])
            yield key, Inverse(inverse, text, place.split, place.outcomes)
