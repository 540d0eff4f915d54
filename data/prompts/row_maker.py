"""Conversion of prompts records into rows: fields matched by name, values validated, images resolved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from imagemill.data.config.chain import edits_of, generate_of, has_masks
from imagemill.data.config.guides import Guide, guides_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import BadRow
from imagemill.data.images.size_buckets import parse_ratio
from imagemill.data.messages import shown
from imagemill.data.prompts.conversations import NO_CONVERSATION, has_conversation, read_conversation, text_of
from imagemill.data.prompts.field_names import has_heading, list_fields
from imagemill.data.prompts.field_roles import FieldRoles, RoleFinder
from imagemill.data.prompts.row import Row
from imagemill.data.prompts.row_images import RowImages, is_image, plain_images
from imagemill.data.prompts.row_settings import read_settings


class RowMaker:
    """Converts records into rows for one recipe.

    ``conventions``: those of the dataset (data.dataset.folder.CONVENTIONS).
    """

    def __init__(self, recipe: Recipe, images: RowImages, conventions: int) -> None:
        self.columns = recipe.columns
        self.file = recipe.rows_from
        self.from_heading = has_heading(recipe.prompts)
        self.images = images
        self.is_old = conventions < 2
        self.generates = generate_of(recipe) is not None
        self.inpaints = has_masks(recipe)
        self.guides = guides_of(recipe)
        # A row's own instructions apply to the first edit only.
        self.edit = next((link.section for link in edits_of(recipe)), None)
        self.roles = RoleFinder(recipe)

    def rows(
        self,
        fields: Mapping[str, Any],
        line: int,
        mark: str = "",
        heading: tuple[str, ...] = (),
        swept: Mapping[str, Any] | None = None,
        given_id: str | None = None,
    ) -> Iterator[tuple[str | None, Row]]:
        """Yield (the row's own id or None, the row with its ids still empty). Raises BadRow.

        ``mark`` distinguishes the variants of a record (data.prompts.expansion) and is appended to its own id;
        ``swept`` are the variant's settings. ``heading``: all fields of the record's file, where the file lists them.
        ``given_id`` replaces its id.
        """
        roles = self.roles.of(fields, heading)
        values = roles.values(fields)
        settings = read_settings({**roles.setting_values(fields), **(swept or {})}, roles.settings)
        carried = roles.carried_values(fields)
        own_id = given_id or self._id(values)
        own_id = f"{own_id}-{mark}" if own_id is not None and mark else own_id
        conversation = NO_CONVERSATION
        if has_conversation(values):
            name = roles.name_of("conversations") or "conversations"
            conversation = read_conversation(values["conversations"], name, keep_placeholders=self.is_old)
        prompt = text_of(values.get("prompt"), roles.name_of("prompt") or self.columns.prompt)

        if not self.generates:
            prompts: list[str | None] = [prompt or None]
        else:
            prompts = list(conversation.texts) or [prompt]
            if not prompts[0]:
                raise BadRow(self._missing("prompt", "prompt", "conversations", fields=fields, roles=roles))
        instructions = self._instructions(values, conversation.texts, prompt, fields, roles)
        self.images.begin_row()
        image: str | None = None
        image_hash: str | None = None
        references: list[tuple[str, str]] = []
        if not self.generates:
            if conversation.images and (not values.get("images") or "images" in roles.recognised):
                if "images" in roles.recognised:
                    # Beside images that are certain, a field that only has the name of one is none.
                    carried[roles.columns["images"]] = values.get("images")
                values["images"] = conversation.images
            (image, image_hash), *references = self._images(values, fields, roles)
        mask, mask_hash = self._image("mask", "mask", values, fields, roles) if self.inpaints else (None, None)
        guides = tuple(self._guide(role, values, fields, roles) for role in self.guides)

        for number, row_prompt in enumerate(prompts):
            row_id = f"{own_id}-{number}" if own_id is not None and len(prompts) > 1 else own_id
            yield (
                row_id,
                Row(
                    id="",
                    seed_id="",
                    prompt=row_prompt,
                    edit_prompts=instructions,
                    image=image,
                    image_hash=image_hash,
                    mask=mask,
                    mask_hash=mask_hash,
                    references=tuple(references),
                    guides=guides,
                    negative_prompt=settings.negative_prompt,
                    seed=settings.seed,
                    width=settings.width,
                    height=settings.height,
                    steps=settings.steps,
                    guidance_scale=settings.guidance_scale,
                    aspect_ratio=_ratio(values.get("aspect_ratio"), self.columns.aspect_ratio),
                    carried=carried,
                    file=self.file,
                    line=line,
                    doubt=self.images.doubt,
                    reading=self.images.reading,
                    model=(swept or {}).get("model"),
                ),
            )

    def carried(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of a record's fields that imagemill does not read."""
        return self.roles.of(tuple(names)).carried

    @property
    def carried_binary(self) -> frozenset[str]:
        """The fields that are carried although they are binary."""
        return self.roles.carried_binary

    def id_of(self, fields: Mapping[str, Any]) -> str | None:
        """The record's own id; None if it has none. Raises BadRow for an invalid one."""
        return self._id(self.roles.of(tuple(fields)).values(fields))

    def own_id(self, fields: Mapping[str, Any] | None) -> str | None:
        """The record's own id; None if it has none, or an invalid one."""
        if not fields:
            return None
        try:
            return self.id_of(fields)
        except BadRow:
            return None

    def prefetch(
        self, fields: Mapping[str, Any] | None, heading: tuple[str, ...] = (), others: Iterable[str] = ()
    ) -> None:
        """Start to download the images of a record that is needed soon. ``others``: further fields with images."""
        if not fields:
            return
        values = self.roles.of(fields, heading).values(fields)
        images = [values[role] for role in self.roles.image_roles if role in values]
        images += [fields[name] for name in others if name in fields]
        if "images" in self.roles.image_roles and not values.get("images") and has_conversation(values):
            with suppress(BadRow):
                images += read_conversation(values["conversations"], "").images
        for image in images:
            self.images.prefetch(image)

    def _id(self, values: Mapping[str, Any]) -> str | None:
        value = values.get("id")
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, (dict, list, bool)):
            raise BadRow(f"{self.columns.id} is {shown(value)}: an id is a text or a number")
        if self.is_old:
            return str(value)
        text = str(value).strip()
        # What pandas makes of a missing id.
        is_missing = text.lower() == "nan" and (isinstance(value, float) or self.from_heading)
        return None if is_missing else text

    def _missing(self, what: str, *needed: str, fields: Mapping[str, Any], roles: FieldRoles) -> str:
        """Error text for a row without ``what``: its field is empty or absent, or may be any of several."""
        for role in needed:
            if found := roles.candidates.get(role):
                field, its_role = next(iter(found.items()))
                return (
                    f"no {what}: {' and '.join(map(repr, found))} could each be it; write columns: "
                    f"{{{its_role}: {field}}}, or name another"
                )
        for role in needed:
            if name := roles.name_of(role):
                return f"the {what} is empty ({shown(name)})"
        names = " nor ".join(repr(name) for role in needed if (name := getattr(self.columns, role)))
        neither = "neither " if " nor " in names else "no "
        present = list_fields(fields, self.from_heading)
        return f"no {what}: the row has {neither}{names}, but {present}; recipe.columns says which field is what"

    def _instructions(
        self,
        values: Mapping[str, Any],
        messages: Sequence[str],
        prompt: str,
        fields: Mapping[str, Any],
        roles: FieldRoles,
    ) -> tuple[str, ...]:
        if self.edit is None or self.edit.instructions:
            return ()
        value, edits_only = values.get("edit_prompt"), not self.generates
        name = roles.name_of("edit_prompt") or self.columns.edit_prompt
        texts = [text_of(text, name) for text in (value if isinstance(value, list) else [value])]
        if not any(texts) and edits_only:
            texts = list(messages if self.edit.multi_turn else messages[-1:]) or [prompt]
        if not texts or not all(texts):
            needed = ("edit_prompt", "conversations", "prompt") if edits_only else ("edit_prompt",)
            missing = self._missing("edit instruction", *needed, fields=fields, roles=roles)
            raise BadRow(f"{missing} (recipe.edit.instructions is empty too)")
        # Two turns may have the same instruction, such as "once more".
        return tuple(texts if self.edit.multi_turn else dict.fromkeys(texts))

    def _images(self, values: Mapping[str, Any], fields: Mapping[str, Any], roles: FieldRoles) -> list[tuple[str, str]]:
        """Path and sha256 of the image to edit, then of its references."""
        images = plain_images(values.get("images"))
        column = roles.name_of("images") or self.columns.images
        if not any(images):
            raise BadRow(self._missing("image", "images", fields=fields, roles=roles))
        if not all(map(is_image, images)):
            value = values["images"] if len(images) == 1 else images
            raise BadRow(f"no image: {shown(column)} must be a path or a list of one, not {shown(value)}")
        if len(images) > 1 and not (self.edit and self.edit.references):
            raise BadRow(
                f"{len(images)} images in {shown(column)}: the edit takes one "
                "(edit.references passes all to a model that takes several)"
            )
        return [self.images.inspect(image, column) for image in images]

    def _image(
        self, what: str, role: str, values: Mapping[str, Any], fields: Mapping[str, Any], roles: FieldRoles
    ) -> tuple[str, str]:
        """Path and sha256 of the single image with this role in recipe.columns."""
        images, column = plain_images(values.get(role)), roles.name_of(role) or getattr(self.columns, role)
        if not any(images):
            raise BadRow(self._missing(what, role, fields=fields, roles=roles))
        if len(images) > 1 or not is_image(images[0]):
            raise BadRow(f"no {what}: {shown(column)} must be a path, not {shown(values[role])}")
        return self.images.inspect(images[0], column)

    def _guide(self, role: str, values: Mapping[str, Any], fields: Mapping[str, Any], roles: FieldRoles) -> Guide:
        return (role, *self._image(role.replace("_", " "), role, values, fields, roles))


def _ratio(value: Any, name: str | None) -> float | None:
    if value is None or value == "":
        return None
    try:
        return parse_ratio(value)
    except ValueError as error:
        raise BadRow(f"{name}: {error}") from error
