"""Records with their words: each goes through the steps of recipe.llm, and may become several."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from imagemill.data.answers.budget import NotAsked
from imagemill.data.answers.records import Question, SeenImage
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.words.answer_fields import read_values
from imagemill.data.config.words.llm import LlmStep
from imagemill.data.config.words.placeholders import fill_in
from imagemill.data.errors import BadRow
from imagemill.data.identity import MAX_SEED
from imagemill.data.messages import shown
from imagemill.data.planning.words.asks import Asks
from imagemill.data.planning.words.record_ids import GivenId, RecordIds
from imagemill.data.planning.words.unasked import Unasked, asker_of
from imagemill.data.prompts.field_names import list_fields
from imagemill.data.prompts.formats.line_formats import Record
from imagemill.data.prompts.row_images import EmbeddedImage, is_image, plain_images
from imagemill.data.prompts.row_maker import RowMaker


@dataclass(frozen=True, slots=True)
class Copy:
    """A record with its words, or one of several that are made of it."""

    fields: Mapping[str, Any]
    given_id: GivenId | None = None
    """None: its rows have the id that they have without words."""
    fault: BadRow | NotAsked | None = None
    """Why it has no words; its fields are then those that it has so far."""


class Words:
    """Puts words into the records of one recipe."""

    def __init__(self, recipe: Recipe, row_maker: RowMaker, asks: Asks) -> None:
        self._steps = recipe.llm
        # Parsed once, not for each row.
        self._fields = [step.answer_fields for step in recipe.llm]
        self._placeholders = [step.placeholders for step in recipe.llm]
        self._truncated = recipe.images.truncated == "allow"
        self._row_maker = row_maker
        self._ids = RecordIds(recipe, row_maker)
        self._asks = asks
        self.unasked = Unasked()

    def of(self, records: Iterable[Record]) -> Iterator[tuple[Record, list[Copy]]]:
        """Each record with its copies, in the order of the file; some are asked about in advance."""
        pending: deque[tuple[Record, Future[list[Copy]] | list[Copy]]] = deque()
        for record in records:
            pending.append((record, self._begin(record)))
            if len(pending) >= self._asks.window:
                yield _settled(*pending.popleft())
        while pending:
            yield _settled(*pending.popleft())

    def _begin(self, record: Record) -> Future[list[Copy]] | list[Copy]:
        if record.fields is None:
            return [Copy({}, fault=BadRow(record.fault))]
        try:
            images = self._row_maker.images
            images.begin_row()
            seen = [self._seen(step, record) for step in self._steps]
            doubt = record.doubt or images.doubt
            given_id = self._ids.of(record.fields, seen)
        except BadRow as error:
            return [Copy(record.fields, fault=error)]
        fields = _without_bytes(record.fields, self._steps, self._row_maker)
        return self._asks.start(self._copies(record, fields, given_id, seen, doubt))

    async def _copies(
        self,
        record: Record,
        fields: Mapping[str, Any],
        given_id: GivenId | None,
        seen: Sequence[tuple[SeenImage, ...]],
        doubt: str | None,
    ) -> list[Copy]:
        copies = [Copy(fields, given_id)]
        for number, step in enumerate(self._steps):
            asked = (
                self._after(number, copy, which, seen[number], doubt)
                for copy in copies
                for which in range(step.count or 1 if copy.fault is None else 1)
            )
            # In their order: a copy's place decides its id, not when its answer arrives.
            copies = await asyncio.gather(*asked)
        return copies

    async def _after(self, number: int, copy: Copy, which: int, seen: tuple[SeenImage, ...], doubt: str | None) -> Copy:
        """The copy after a step, or as it is where it has no words. ``which``: of several."""
        if copy.fault is not None:
            return copy
        step, given_id = self._steps[number], copy.given_id
        if step.count is not None and given_id is not None:
            given_id = given_id._replace(text=f"{given_id.text}-{which}")
        try:
            question = self._question(number, copy.fields, which, seen)
            # A row in doubt is built only if the dataset has it, so it is not worth an answer.
            answer = await (self._asks.answer if doubt is None else self._asks.known)(question)
            if answer is None:
                raise BadRow(doubt)
            if answer.values is None:
                raise BadRow(f"{asker_of(number)}: {answer.fault or 'the model gave no answer'}")
            # Again: a dataset's answers may be from someone else.
            values = read_values(self._fields[number], answer.values)
        except ValueError as error:
            return Copy(copy.fields, given_id, BadRow(f"{asker_of(number)}: the dataset's answer is not one: {error}"))
        except BadRow as error:
            return Copy(copy.fields, given_id, error)
        except NotAsked as error:
            self.unasked.add(self._steps, number, str(error))
            return Copy(copy.fields, given_id, error)
        return Copy({**copy.fields, **values}, given_id)

    def _question(self, number: int, fields: Mapping[str, Any], which: int, seen: tuple[SeenImage, ...]) -> Question:
        step = self._steps[number]
        values = {name: self._text(asker_of(number), name, fields) for name in self._placeholders[number]}
        return Question(
            asker=asker_of(number),
            model=step.model,
            revision=step.revision,
            system=step.system,
            text=fill_in(step.ask, values),
            images=seen,
            fields=self._fields[number],
            temperature=step.temperature,
            seed=None if step.seed is None else (step.seed + which) % (MAX_SEED + 1),
            number=which,
            max_tokens=step.max_tokens,
            extra=step.api.extra,
        )

    def _text(self, asker: str, name: str, fields: Mapping[str, Any]) -> str:
        value = fields.get(name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = ", ".join(value)
        if value is None or isinstance(value, list | dict | bytes) or not str(value).strip():
            present = list_fields(fields, self._row_maker.from_heading)
            raise BadRow(f"{asker}.ask has {{{name}}}, for which the row has no text or number (it has {present})")
        return str(value)

    def _seen(self, step: LlmStep, record: Record) -> tuple[SeenImage, ...]:
        """The images of the record that a step is shown."""
        assert record.fields is not None, "a record without fields is set aside before"
        return tuple(image for name in step.sees for image in self._images_in(name, record.fields, record.heading))

    def _images_in(self, name: str, fields: Mapping[str, Any], heading: tuple[str, ...]) -> Iterator[SeenImage]:
        column = column_of(name, fields, heading, self._row_maker)
        images = plain_images(fields.get(column)) if column else []
        if not any(images):
            present = list_fields(fields, self._row_maker.from_heading)
            raise BadRow(f"no image in {shown(name)}, which a language model is to see: the row has {present}")
        for image in images:
            if not is_image(image):
                raise BadRow(f"no image: {shown(column)} must be a path or a list of paths, not {shown(image)}")
            path, sha256 = self._row_maker.images.inspect(image, column or name)
            yield SeenImage(path, sha256, self._truncated)


def column_of(name: str, fields: Mapping[str, Any], heading: tuple[str, ...], row_maker: RowMaker) -> str | None:
    """The field that ``sees`` names: by its name, or the one that has the role of that name."""
    if name in fields:
        return name
    return row_maker.roles.of(tuple(fields), heading).columns.get(name)


def _without_bytes(fields: Mapping[str, Any], steps: Sequence[LlmStep], row_maker: RowMaker) -> Mapping[str, Any]:
    """The fields without embedded images that only a language model sees: no column carries them."""
    carried = frozenset(row_maker.carried(tuple(fields))) - row_maker.carried_binary
    only_seen = {name for step in steps for name in step.sees if name in carried}
    return {
        name: value
        for name, value in fields.items()
        if not (name in only_seen and any(isinstance(image, EmbeddedImage) for image in plain_images(value)))
    }


def _settled(record: Record, copies: Future[list[Copy]] | list[Copy]) -> tuple[Record, list[Copy]]:
    return record, copies if isinstance(copies, list) else copies.result()
