"""From a record of the prompts file to the rows it asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from imagemill.data.config.chain import edits_of, generate_of, has_masks
from imagemill.data.config.fields import Guidance, Number, Size, Steps
from imagemill.data.config.guides import Guide, guides_of
from imagemill.data.config.recipe import GUIDES, Columns, Recipe
from imagemill.data.errors import BadRow
from imagemill.data.identity import MAX_SEED
from imagemill.data.images.size_buckets import parse_ratio
from imagemill.data.prompts.conversations import talks, text_of, user_messages
from imagemill.data.prompts.image_fetcher import ImageFetcher
from imagemill.data.prompts.row import Row
from imagemill.data.prompts.row_images import RowImages, is_image, plain_image, plain_images


def _given(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _given_text(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


class Overrides(BaseModel):
    """What a row may decide for itself; the names of its fields are the columns that are read. Blank: not given."""

    seed: Annotated[Annotated[int, Field(ge=0, le=MAX_SEED), Number] | None, BeforeValidator(_given)] = None
    width: Annotated[Size | None, BeforeValidator(_given)] = None
    height: Annotated[Size | None, BeforeValidator(_given)] = None
    steps: Annotated[Steps | None, BeforeValidator(_given)] = None
    guidance_scale: Annotated[Guidance | None, BeforeValidator(_given)] = None
    negative_prompt: Annotated[str | None, BeforeValidator(_given_text)] = None


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class Names:
    """The names, in one record's own spelling, of the fields that imagemill reads."""

    columns: Mapping[str, str]
    overrides: Mapping[str, str]
    carried: tuple[str, ...]
    """The fields that it does not read."""

    @classmethod
    def of(cls, keys: tuple[str, ...], columns: Columns, unused: Collection[str]) -> Names:
        """Match each wanted name exactly, else without regard to case; what fills an ``unused`` role is not read."""
        lower = {key.lower(): key for key in reversed(keys)}

        def find(name: str) -> str | None:
            return name if name in keys else lower.get(name.lower())

        wanted = {role: find(name) for role, name in columns.model_dump().items() if name and role not in unused}
        found = {role: key for role, key in wanted.items() if key is not None}
        overrides = {name: key for name in Overrides.model_fields if (key := find(name)) is not None}
        read = {*found.values(), *overrides.values()}
        return cls(found, overrides, tuple(key for key in keys if key not in read))


class RowMaker:
    """Makes rows from records for one recipe. Keeps nothing but the last few headings' spellings."""

    def __init__(self, recipe: Recipe, images: ImageFetcher) -> None:
        self.columns = recipe.columns
        self.file = recipe.rows_from
        self.images = RowImages(recipe.prompts_path, images)
        self.generates = generate_of(recipe) is not None
        self.inpaints = has_masks(recipe)
        self.guides = guides_of(recipe)
        # A row's own instructions are for the first edit.
        self.edit = next((link.section for link in edits_of(recipe)), None)
        # What this recipe does not read is carried.
        self.unused = [role for role, is_used in _uses(recipe) if not is_used]
        self.image_roles = [role for role in ("images", "mask", *self.guides) if role not in self.unused]
        self._names = lru_cache(maxsize=64)(lambda keys: Names.of(keys, recipe.columns, self.unused))

    def rows(self, fields: Mapping[str, Any], line: int, mark: str = "") -> Iterator[tuple[str | None, Row]]:
        """Yield (the row's own id or None, the row without its ids). Raises BadRow.

        ``mark`` tells the variants of one record (data.prompts.expansion), and goes behind its own id.
        """
        names = self._names(tuple(fields))
        asked = {role: fields[key] for role, key in names.columns.items() if fields[key] is not None}
        settings = {name: fields[key] for name, key in names.overrides.items()}
        overrides = _overrides(settings) if settings else NO_OVERRIDES
        carried = {key: fields[key] for key in names.carried}
        own_id = _own_id(asked.get("id"), self.columns.id)
        own_id = f"{own_id}-{mark}" if own_id is not None and mark else own_id
        messages = user_messages(asked["conversations"], self.columns.conversations) if talks(asked) else []
        own = text_of(asked.get("prompt"), self.columns.prompt)

        if not self.generates:
            prompts: list[str | None] = [own or None]
        else:
            prompts = list(messages) or [own]
            if not prompts[0]:
                raise BadRow(self._lacks("prompt", "prompt", "conversations", fields=fields))
        instructions = self._instructions(asked, messages, own, fields)
        (image, image_hash), *more = [(None, None)] if self.generates else self._images(asked, fields)

        mask, mask_hash = self._image("mask", "mask", asked, fields) if self.inpaints else (None, None)
        guides = tuple(self._guide(role, asked, fields) for role in self.guides)

        for number, prompt in enumerate(prompts):
            row_id = f"{own_id}-{number}" if own_id is not None and len(prompts) > 1 else own_id
            yield (
                row_id,
                Row(
                    id="",
                    seed_id="",
                    prompt=prompt,
                    edit_prompts=instructions,
                    image=image,
                    image_hash=image_hash,
                    mask=mask,
                    mask_hash=mask_hash,
                    references=tuple(more),
                    guides=guides,
                    negative_prompt=overrides.negative_prompt,
                    seed=overrides.seed,
                    width=overrides.width,
                    height=overrides.height,
                    steps=overrides.steps,
                    guidance_scale=overrides.guidance_scale,
                    aspect_ratio=_ratio(asked.get("aspect_ratio"), self.columns.aspect_ratio),
                    carried=carried,
                    file=self.file,
                    line=line,
                ),
            )

    @property
    def image_fields(self) -> list[str]:
        """Names of the fields that may hold images themselves."""
        return [getattr(self.columns, role) for role in self.image_roles]

    def own_id(self, fields: Mapping[str, Any] | None) -> str | None:
        """The id that a record gives itself, if it gives a usable one."""
        name = self._names(tuple(fields)).columns.get("id") if fields else None
        try:
            return _own_id(fields[name], self.columns.id) if name else None
        except BadRow:
            return None

    def _lacks(self, what: str, *roles: str, fields: Mapping[str, Any]) -> str:
        """Why a row without ``what`` cannot be built: its field is empty, or there is none."""
        known = self._names(tuple(fields)).columns
        for role in roles:
            if role in known:
                return f"the {what} is empty ({known[role]!r})"
        names = " nor ".join(repr(getattr(self.columns, role)) for role in roles)
        neither = "neither " if len(roles) > 1 else "no "
        has = ", ".join(map(repr, list(fields)[:8])) or "nothing"
        return f"no {what}: the row has {neither}{names}, but {has}; recipe.columns says which field is what"

    def _instructions(
        self, asked: Mapping[str, Any], messages: list[str], prompt: str, fields: Mapping[str, Any]
    ) -> tuple[str, ...]:
        if self.edit is None or self.edit.instructions:
            return ()
        own, alone = asked.get("edit_prompt"), not self.generates
        given = [text_of(one, self.columns.edit_prompt) for one in (own if isinstance(own, list) else [own])]
        if not any(given) and alone:
            given = (messages if self.edit.multi_turn else messages[-1:]) or [prompt]
        if not given or not all(given):
            roles = ("edit_prompt", "conversations", "prompt") if alone else ("edit_prompt",)
            lacks = self._lacks("edit instruction", *roles, fields=fields)
            raise BadRow(f"{lacks} (recipe.edit.instructions is empty too)")
        # Of several turns, two may say the same: "once more".
        return tuple(given if self.edit.multi_turn else dict.fromkeys(given))

    def _images(self, asked: Mapping[str, Any], fields: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Path and sha256 of the image to edit, and of those that are its references."""
        found = plain_images(asked.get("images"))
        column = self.columns.images
        if not any(found):
            raise BadRow(self._lacks("image", "images", fields=fields))
        if not all(map(is_image, found)):
            told = asked["images"] if len(found) == 1 else found
            raise BadRow(f"no image: {column!r} must be a path or a list of one, not {told!r}")
        if len(found) > 1 and not (self.edit and self.edit.references):
            raise BadRow(
                f"{len(found)} images in {column!r}: the edit takes one "
                "(edit.references gives all to a model that takes several)"
            )
        return [self.images.inspected(one, column) for one in found]

    def fetch_ahead(self, fields: Mapping[str, Any] | None) -> None:
        """Begin to fetch the images of a record whose turn comes soon."""
        names = self._names(tuple(fields)).columns if fields else {}
        for value in [fields[names[role]] for role in self.image_roles if role in names]:
            self.images.fetch_ahead(value)

    def _image(self, what: str, role: str, asked: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str, str]:
        """Path and sha256 of the one image that a role of recipe.columns has."""
        value, column = plain_image(asked.get(role)), getattr(self.columns, role)
        if not value:
            raise BadRow(self._lacks(what, role, fields=fields))
        if not is_image(value):
            raise BadRow(f"no {what}: {column!r} must be a path, not {value!r}")
        return self.images.inspected(value, column)

    def _guide(self, role: str, asked: Mapping[str, Any], fields: Mapping[str, Any]) -> Guide:
        return (role, *self._image(role.replace("_", " "), role, asked, fields))


def _overrides(given: dict[str, Any]) -> Overrides:
    try:
        return Overrides.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        why = fault["msg"]
        raise BadRow(f"{fault['loc'][0]} is {fault['input']!r}: {why[:1].lower()}{why[1:]}") from error


def _uses(recipe: Recipe) -> Iterator[tuple[str, bool]]:
    """Which role of recipe.columns this recipe reads at all."""
    yield "images", generate_of(recipe) is None
    yield "aspect_ratio", generate_of(recipe) is not None
    yield "mask", has_masks(recipe)
    used = guides_of(recipe)
    yield from ((role, role in used) for role in GUIDES)
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
        raise BadRow(f"{name} is {value!r}: an id is a text or a number")
    return str(value)
