"""Ids of rows that a language model has a part in: from the record before the words, never from the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from imagemill.data.answers.records import SeenImage
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.template import placeholders
from imagemill.data.identity import content_id
from imagemill.data.prompts.row_images import is_image, plain_images
from imagemill.data.prompts.row_maker import RowMaker

ONLY_RECORD = "row"
"""Id of the single record that there is without a prompts file."""


class GivenId(NamedTuple):
    """The id of a row, in the place of one from its content."""

    text: str
    may_repeat: bool
    """True if other rows may have it too, as equal records have: they are then numbered."""


class RecordIds:
    """Finds the ids of one recipe's records."""

    def __init__(self, recipe: Recipe, row_maker: RowMaker) -> None:
        self._row_maker = row_maker
        self._has_prompts = bool(recipe.prompts)
        self._written = frozenset(name for step in recipe.llm for name in step.fields)
        self._makes_several = any(step.count is not None for step in recipe.llm)
        self._read = {name for step in recipe.llm for name in step.placeholders} - self._written
        if recipe.template is not None:
            self._read |= placeholders(recipe.template) - set(recipe.template.values) - self._written

    def of(self, fields: Mapping[str, Any], seen: Sequence[Sequence[SeenImage]]) -> GivenId | None:
        """The id that a record's rows begin with; None where they have the same as without words.

        ``seen``: the images that each step is shown. Raises BadRow for an invalid id.
        """
        own_id = self._row_maker.id_of(fields)
        if own_id is not None:
            return GivenId(own_id, may_repeat=False)
        if not self._has_prompts:
            return GivenId(ONLY_RECORD, may_repeat=True)
        if not self._makes_several and not self._is_read(fields):
            return None
        return GivenId(self._content_id(fields, seen), may_repeat=True)

    def _is_read(self, fields: Mapping[str, Any]) -> bool:
        """True if the words decide an image: a caption that is only carried leaves a row its id."""
        names = tuple(dict.fromkeys([*fields, *self._written]))
        return bool(self._written.difference(self._row_maker.carried(names)))

    def _content_id(self, fields: Mapping[str, Any], seen: Sequence[Sequence[SeenImage]]) -> str:
        """A hash of what the recipe reads of the record; a label that is only carried is no part of it."""
        roles = self._row_maker.roles.of(tuple(fields))
        content = roles.values(fields) | roles.setting_values(fields)
        # It is blank.
        content.pop("id", None)
        content |= {f"{{{name}}}": fields[name] for name in self._read if name in fields}
        for role in self._row_maker.roles.image_roles:
            images = plain_images(content.get(role))
            if all(map(is_image, images)) and any(images):
                self._row_maker.images.begin_row()
                column = roles.name_of(role) or role
                content[role] = [self._row_maker.images.inspect(image, column)[1] for image in images]
        return content_id({**content, "seen": [[image.sha256 for image in images] for images in seen] or None})
