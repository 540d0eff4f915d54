"""Images of a finished dataset's rows as scorers see them: the same requests as in a build, without the prompts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from imagemill.data.config.chain import edits_of, generate_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.inverse import is_inverse
from imagemill.data.dataset.files.outcomes import outcomes_in
from imagemill.data.dataset.parquet import read_schema
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.planning.judging.finished.recipe import missing_column
from imagemill.data.planning.judging.scoring import Scoring, Seen
from imagemill.data.prompts.row import Row
from imagemill.data.scores.records import ScorerFacts
from imagemill.data.storage.locations import Location

_OWN = (
    "row_key",
    "id",
    "prompt",
    "edit_prompt",
    "image_key",
    "sha256",
    "input_key",
    "input_sha256",
    "mask_sha256",
    "turn_index",
)

_NOWHERE = 2**31
"""Number of an instruction whose place among the row's is not known: of a list of texts it has none."""

_OF_IMAGEMILL = ("prompt", "edit_prompt")


class StoredLook(NamedTuple):
    """One image of a row."""

    key: str
    column: str
    """``image``, ``edited_image`` or ``input_image``."""
    seen: Seen
    is_edit: bool


class StoredImages(NamedTuple):
    """The images of a row that scorers read."""

    own: StoredLook | None
    """Of the last step; None for the input of edits that were not made."""
    input: StoredLook | None
    """A generated input; None for one that the row was given, and for the result of an earlier turn, ..."""
    earlier: str | None
    """... whose key this is: it is the own image of another row."""


@dataclass(frozen=True, slots=True)
class Looking:
    """Columns and images of a dataset that the scorers of one recipe read."""

    recipe: Recipe
    schema: DatasetSchema
    scoring: Scoring
    texts: Mapping[str, str]
    """Column of the prompts that a scorer reads -> the dataset's column."""

    @classmethod
    def of(cls, recipe: Recipe, schema: DatasetSchema, scoring: Scoring) -> Looking:
        """Raises RecipeError for a text that the dataset does not have."""
        texts: dict[str, str] = {}
        makes_first = not schema.edits or schema.chained
        for is_edit in (False, True):
            for facts in scoring.looking(is_edit) if (schema.edits if is_edit else makes_first) else ():
                column = scoring.column(facts, is_edit)
                if "text" not in facts.reads or column in _OF_IMAGEMILL:
                    continue
                found = schema.column_of(column)
                if found not in schema.carried:
                    raise missing_column(facts.name, column, {*_OF_IMAGEMILL, *(schema.names or schema.carried)})
                texts[column] = found
        return cls(recipe, schema, scoring, texts)

    def columns(self, path: Location) -> list[str]:
        """The columns of a file to read for ``images``."""
        names = read_schema(path).names
        return [name for name in (*_OWN, *self._stored(path).values()) if name in names]

    def images(self, path: Location, rows: Collection[Mapping[str, Any]]) -> Iterator[StoredImages]:
        """The images of these rows of a file."""
        stored = self._stored(path)
        last, first_turn = self.schema.image_columns[-1], (None, 1)
        makes_input = self.schema.edits and generate_of(self.recipe) is not None
        for fields in rows:
            if is_inverse(fields["row_key"]):
                # Its images are those of its forward row, in the other order.
                yield StoredImages(None, None, None)
                continue
            row = self._row(fields, stored)
            key, input_key, turn = fields.get("image_key"), fields.get("input_key"), fields.get("turn_index")
            own = given = None
            if key is not None and fields["sha256"] is not None:
                source = fields.get("input_sha256") if self.schema.edits else None
                instruction = fields.get("edit_prompt")
                seen = Seen(row, fields["sha256"], source, instruction, self._number(instruction, turn))
                own = StoredLook(key, last, seen, self.schema.edits)
            is_first = turn in first_turn
            if makes_input and input_key is not None and is_first:
                given = StoredLook(input_key, "input_image", Seen(row, fields["input_sha256"]), False)
            yield StoredImages(own, given, None if is_first else input_key)

    def requests(self, look: StoredLook) -> Iterator[tuple[ScorerFacts, str | None]]:
        """Each scorer of an image, and its request; None where the row lacks an input."""
        for facts in self.scoring.looking(look.is_edit):
            lacks_mask = "mask" in facts.reads and look.seen.row.mask_hash is None
            yield facts, None if lacks_mask else self.scoring.request(facts, look.seen)

    def _stored(self, path: Location) -> dict[str, str]:
        """Column of the prompts -> its name in this file."""
        outcomes = outcomes_in(read_schema(path))
        found = {name: outcomes.stored(column) for name, column in self.texts.items()}
        return {name: column for name, column in found.items() if column is not None}

    def _row(self, fields: Mapping[str, Any], stored: Mapping[str, str]) -> Row:
        """The row of the prompts, as far as scorers read it."""
        carried = {name: self._value(name, fields.get(column)) for name, column in stored.items()}
        return Row(
            id=fields["id"],
            seed_id="",
            prompt=fields.get("prompt"),
            edit_prompts=(),
            image=None,
            image_hash=None,
            mask=None,
            mask_hash=fields.get("mask_sha256"),
            references=(),
            guides=(),
            negative_prompt=None,
            seed=None,
            width=None,
            height=None,
            steps=None,
            guidance_scale=None,
            aspect_ratio=None,
            carried=carried,
            file="",
            line=0,
        )

    def _value(self, name: str, value: Any) -> Any:
        if self.schema.carried[self.texts[name]] != "json" or not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return None

    def _number(self, instruction: str | None, turn: int | None) -> int:
        """The place of an instruction among its step's, for a text column that has a text for each."""
        edits = edits_of(self.recipe)
        if instruction is None or not edits:
            return 0
        if len(edits) == 1 and edits[0].section.multi_turn:
            return (turn or 1) - 1
        instructions = edits[min(turn or 1, len(edits)) - 1].section.instructions
        return list(instructions).index(instruction) if instruction in instructions else _NOWHERE
