"""Conversion of prompts records into rows: fields matched by name, values validated, images resolved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from imagemill.data.config.chain import edits_of, generate_of, has_masks
from imagemill.data.config.columns import GUIDES, Columns
from imagemill.data.config.fields import Guidance, Number, Size, Steps, blank_as_none
from imagemill.data.config.guides import Guide, guides_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import BadRow
from imagemill.data.identity import MAX_SEED
from imagemill.data.images.size_buckets import parse_ratio
from imagemill.data.messages import shown
from imagemill.data.prompts.conversations import has_conversation, text_of, user_messages
from imagemill.data.prompts.field_names import has_heading, list_fields
from imagemill.data.prompts.row import Row
from imagemill.data.prompts.row_images import RowImages, is_image, plain_image, plain_images


def _stripped_or_none(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


class Overrides(BaseModel):
    """Settings that a row may override; field names are column names. Blank values count as absent."""

    seed: Annotated[Annotated[int, Field(ge=0, le=MAX_SEED), Number] | None, BeforeValidator(blank_as_none)] = None
    width: Annotated[Size | None, BeforeValidator(blank_as_none)] = None
    height: Annotated[Size | None, BeforeValidator(blank_as_none)] = None
    steps: Annotated[Steps | None, BeforeValidator(blank_as_none)] = None
    guidance_scale: Annotated[Guidance | None, BeforeValidator(blank_as_none)] = None
    negative_prompt: Annotated[str | None, BeforeValidator(_stripped_or_none)] = None


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The record's fields that imagemill reads, in the record's spelling."""

    columns: Mapping[str, str]
    overrides: Mapping[str, str]
    carried: tuple[str, ...]
    """Fields that imagemill does not read."""

    @classmethod
    def of(cls, keys: tuple[str, ...], columns: Columns, unused: Collection[str]) -> FieldNames:
        """Match names exactly, or else ignoring case; fields with an ``unused`` role are not read."""
        lower = {key.lower(): key for key in reversed(keys)}

        def find(name: str) -> str | None:
            return name if name in keys else lower.get(name.lower())

        roles = {role: name for role, name in columns.roles().items() if name and role not in unused}
        found = {role: key for role, name in roles.items() if (key := find(name)) is not None}
        overrides = {name: key for name in Overrides.model_fields if (key := find(name)) is not None}
        read = {*found.values(), *overrides.values()}
        return cls(found, overrides, tuple(key for key in keys if key not in read))


class RowMaker:
    """Converts records into rows for one recipe. Caches only the field names of the last few headings."""

    def __init__(self, recipe: Recipe, images: RowImages) -> None:
        self.columns = recipe.columns
        self.file = recipe.rows_from
        self.from_heading = has_heading(recipe.prompts)
        self.images = images
        self.generates = generate_of(recipe) is not None
        self.inpaints = has_masks(recipe)
        self.guides = guides_of(recipe)
        # A row's own instructions apply to the first edit only.
        self.edit = next((link.section for link in edits_of(recipe)), None)
        # Fields that this recipe does not read are carried into the dataset.
        self.unused = [role for role, is_used in _role_usage(recipe) if not is_used]
        self.image_roles = [role for role in ("images", "mask", *self.guides) if role not in self.unused]
        self._names = lru_cache(maxsize=64)(lambda keys: FieldNames.of(keys, recipe.columns, self.unused))

    def rows(self, fields: Mapping[str, Any], line: int, mark: str = "") -> Iterator[tuple[str | None, Row]]:
        """Yield (the row's own id or None, the row with its ids still empty). Raises BadRow.

        ``mark`` distinguishes the variants of a record (data.prompts.expansion) and is appended to its own id.
        """
        names = self._names(tuple(fields))
        values = {role: fields[key] for role, key in names.columns.items() if fields[key] is not None}
        settings = {name: fields[key] for name, key in names.overrides.items()}
        overrides = _overrides(settings) if settings else NO_OVERRIDES
        carried = {key: fields[key] for key in names.carried}
        own_id = _own_id(values.get("id"), self.columns.id)
        own_id = f"{own_id}-{mark}" if own_id is not None and mark else own_id
        messages = (
            user_messages(values["conversations"], self.columns.conversations) if has_conversation(values) else []
        )
        prompt = text_of(values.get("prompt"), self.columns.prompt)

        if not self.generates:
            prompts: list[str | None] = [prompt or None]
        else:
            prompts = list(messages) or [prompt]
            if not prompts[0]:
                raise BadRow(self._missing("prompt", "prompt", "conversations", fields=fields))
        instructions = self._instructions(values, messages, prompt, fields)
        self.images.too_large.clear()
        image: str | None = None
        image_hash: str | None = None
        references: list[tuple[str, str]] = []
        if not self.generates:
            (image, image_hash), *references = self._images(values, fields)
        mask, mask_hash = self._image("mask", "mask", values, fields) if self.inpaints else (None, None)
        guides = tuple(self._guide(role, values, fields) for role in self.guides)

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
                    negative_prompt=overrides.negative_prompt,
                    seed=overrides.seed,
                    width=overrides.width,
                    height=overrides.height,
                    steps=overrides.steps,
                    guidance_scale=overrides.guidance_scale,
                    aspect_ratio=_ratio(values.get("aspect_ratio"), self.columns.aspect_ratio),
                    carried=carried,
                    file=self.file,
                    line=line,
                    doubt=next(iter(self.images.too_large), None),
                ),
            )

    def carried(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of a record's fields that imagemill does not read."""
        return self._names(tuple(names)).carried

    @property
    def image_fields(self) -> list[str]:
        """Fields that may contain embedded images."""
        return [getattr(self.columns, role) for role in self.image_roles]

    def own_id(self, fields: Mapping[str, Any] | None) -> str | None:
        """The record's own id; None if it has none, or an invalid one."""
        if not fields:
            return None
        name = self._names(tuple(fields)).columns.get("id")
        try:
            return _own_id(fields[name], self.columns.id) if name else None
        except BadRow:
            return None

    def _missing(self, what: str, *roles: str, fields: Mapping[str, Any]) -> str:
        """Error text for a row without ``what``: its field is empty or absent."""
        known = self._names(tuple(fields)).columns
        for role in roles:
            if role in known:
                return f"the {what} is empty ({shown(known[role])})"
        names = " nor ".join(repr(getattr(self.columns, role)) for role in roles)
        neither = "neither " if len(roles) > 1 else "no "
        present = list_fields(fields, self.from_heading)
        return f"no {what}: the row has {neither}{names}, but {present}; recipe.columns says which field is what"

    def _instructions(
        self, values: Mapping[str, Any], messages: list[str], prompt: str, fields: Mapping[str, Any]
    ) -> tuple[str, ...]:
        if self.edit is None or self.edit.instructions:
            return ()
        value, edits_only = values.get("edit_prompt"), not self.generates
        texts = [text_of(text, self.columns.edit_prompt) for text in (value if isinstance(value, list) else [value])]
        if not any(texts) and edits_only:
            texts = (messages if self.edit.multi_turn else messages[-1:]) or [prompt]
        if not texts or not all(texts):
            roles = ("edit_prompt", "conversations", "prompt") if edits_only else ("edit_prompt",)
            missing = self._missing("edit instruction", *roles, fields=fields)
            raise BadRow(f"{missing} (recipe.edit.instructions is empty too)")
        # Two turns may have the same instruction, such as "once more".
        return tuple(texts if self.edit.multi_turn else dict.fromkeys(texts))

    def _images(self, values: Mapping[str, Any], fields: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Path and sha256 of the image to edit, then of its references."""
        images = plain_images(values.get("images"))
        column = self.columns.images
        if not any(images):
            raise BadRow(self._missing("image", "images", fields=fields))
        if not all(map(is_image, images)):
            value = values["images"] if len(images) == 1 else images
            raise BadRow(f"no image: {shown(column)} must be a path or a list of one, not {shown(value)}")
        if len(images) > 1 and not (self.edit and self.edit.references):
            raise BadRow(
                f"{len(images)} images in {shown(column)}: the edit takes one "
                "(edit.references passes all to a model that takes several)"
            )
        return [self.images.inspect(image, column) for image in images]

    def prefetch(self, fields: Mapping[str, Any] | None) -> None:
        """Start to download the images of a record that is needed soon."""
        if not fields:
            return
        names = self._names(tuple(fields)).columns
        for value in [fields[names[role]] for role in self.image_roles if role in names]:
            self.images.prefetch(value)

    def _image(self, what: str, role: str, values: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str, str]:
        """Path and sha256 of the single image with this role in recipe.columns."""
        value, column = plain_image(values.get(role)), getattr(self.columns, role)
        if not value:
            raise BadRow(self._missing(what, role, fields=fields))
        if not is_image(value):
            raise BadRow(f"no {what}: {shown(column)} must be a path, not {shown(value)}")
        return self.images.inspect(value, column)

    def _guide(self, role: str, values: Mapping[str, Any], fields: Mapping[str, Any]) -> Guide:
        return (role, *self._image(role.replace("_", " "), role, values, fields))


def _overrides(settings: dict[str, Any]) -> Overrides:
    try:
        return Overrides.model_validate(settings)
    except ValidationError as error:
        fault = error.errors()[0]
        why = fault["msg"]
        raise BadRow(f"{fault['loc'][0]} is {shown(fault['input'])}: {why[:1].lower()}{why[1:]}") from error


def _role_usage(recipe: Recipe) -> Iterator[tuple[str, bool]]:
    """(role of recipe.columns, whether this recipe reads it)."""
    yield "images", generate_of(recipe) is None
    yield "aspect_ratio", generate_of(recipe) is not None
    yield "mask", has_masks(recipe)
    guides = guides_of(recipe)
    yield from ((role, role in guides) for role in GUIDES)
    yield "edit_prompt", any(not link.section.instructions for link in edits_of(recipe))


def _ratio(value: Any, name: str | None) -> float | None:
    if value is None or value == "":
        return None
    try:
        return parse_ratio(value)
    except ValueError as error:
        raise BadRow(f"{name}: {error}") from error


def _own_id(value: Any, name: str) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, (dict, list, bool)):
        raise BadRow(f"{name} is {shown(value)}: an id is a text or a number")
    return str(value)
