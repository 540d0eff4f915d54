"""From a record of the prompts file to the rows it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from data.errors import BadRow
from data.images import inspect_picture
from data.recipe import MAX_SEED, Columns, Guidance, Recipe, Size, Steps
from data.records import Row


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class Overrides(BaseModel):
    """What a row may decide for itself; the names of its fields are the columns that are read."""

    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED), BeforeValidator(_blank_is_none)] = None
    width: Annotated[Size | None, BeforeValidator(_blank_is_none)] = None
    height: Annotated[Size | None, BeforeValidator(_blank_is_none)] = None
    steps: Annotated[Steps | None, BeforeValidator(_blank_is_none)] = None
    guidance_scale: Annotated[Guidance | None, BeforeValidator(_blank_is_none)] = None
    negative_prompt: str | None = None


NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True)
class Names:
    """The names, in one record's own spelling, of the fields that imagemill reads."""

    columns: Mapping[str, str]
    overrides: Mapping[str, str]
    read: frozenset[str]

    @classmethod
    def of(cls, keys: tuple[str, ...], columns: Columns) -> Names:
        """Match each wanted name exactly, else without regard to case."""
        lower = {key.lower(): key for key in reversed(keys)}

        def find(name: str) -> str | None:
            return name if name in keys else lower.get(name.lower())

        wanted = {role: find(name) for role, name in columns.model_dump().items()}
        found = {role: key for role, key in wanted.items() if key is not None}
        overrides = {name: key for name in Overrides.model_fields if (key := find(name)) is not None}
        return cls(found, overrides, frozenset([*found.values(), *overrides.values()]))


class RowMaker:
    """Makes rows from records for one recipe. Keeps nothing but the spelling of the last heading."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.folder = Path(recipe.prompts).parent
        self._keys: tuple[str, ...] | None = None
        self._names = Names({}, {}, frozenset())

    def rows(self, fields: Mapping[str, Any], line: int) -> Iterator[tuple[str | None, Row]]:
        """Yield (the row's own id or None, the row without its id). Raises BadRow."""
        keys = tuple(fields)
        if keys != self._keys:
            self._keys, self._names = keys, Names.of(keys, self.recipe.columns)
        names = self._names
        asked = {role: fields[key] for role, key in names.columns.items() if fields[key] is not None}
        overrides = _overrides({name: fields[key] for name, key in names.overrides.items()})
        carried = {key: value for key, value in fields.items() if key not in names.read}
        own_id = _own_id(asked.get("id"), self.recipe.columns.id)
        messages = _user_messages(asked["conversations"]) if "conversations" in asked else []

        if self.recipe.generate is None:
            prompts: list[str | None] = [_text(asked.get("prompt"))]
        else:
            prompts = list(messages) or [_text(asked.get("prompt"))]
            if not prompts[0]:
                raise BadRow(_no_prompt(asked, self.recipe))
        instructions = self._instructions(asked, messages)
        picture, picture_hash = self._picture(asked) if self.recipe.generate is None else (None, None)

        for number, prompt in enumerate(prompts):
            row_id = f"{own_id}-{number}" if own_id is not None and len(prompts) > 1 else own_id
            yield (
                row_id,
                Row(
                    id="",
                    prompt=prompt,
                    edit_prompts=instructions,
                    picture=picture,
                    picture_hash=picture_hash,
                    negative_prompt=overrides.negative_prompt,
                    seed=overrides.seed,
                    width=overrides.width,
                    height=overrides.height,
                    steps=overrides.steps,
                    guidance_scale=overrides.guidance_scale,
                    carried=carried,
                    file=self.recipe.prompts,
                    line=line,
                ),
            )

    def _instructions(self, asked: Mapping[str, Any], messages: list[str]) -> tuple[str, ...]:
        edit = self.recipe.edit
        if edit is None:
            return ()
        if edit.instructions:
            return tuple(edit.instructions)
        own = asked.get("edit_prompt")
        given = [_text(one) for one in (own if isinstance(own, list) else [own])]
        if not any(given) and self.recipe.generate is None:
            given = messages[-1:] or [_text(asked.get("prompt"))]
        if not given or not all(given):
            raise BadRow(
                f"no edit instruction: the row has no {self.recipe.columns.edit_prompt!r} "
                "and recipe.edit.instructions is empty"
            )
        return tuple(dict.fromkeys(given))

    def _picture(self, asked: Mapping[str, Any]) -> tuple[str, str]:
        value = asked.get("images")
        paths = value if isinstance(value, list) else [value]
        if not paths or not all(isinstance(path, str) and path for path in paths):
            raise BadRow(f"no picture: {self.recipe.columns.images!r} must be a path or a list of one, not {value!r}")
        if len(paths) > 1:
            raise BadRow(f"{len(paths)} pictures in {self.recipe.columns.images!r}: the edit takes one")
        path = self.folder / paths[0]
        return str(path), inspect_picture(path)


def _overrides(given: dict[str, Any]) -> Overrides:
    if not given:
        return NO_OVERRIDES
    try:
        return Overrides.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadRow(f"{fault['loc'][0]} is {fault['input']!r}: {fault['msg'].lower()}") from error


def _own_id(value: Any, name: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (dict, list, bool)):
        raise BadRow(f"{name} is {value!r}: an id is a text or a number")
    return str(value)


def _user_messages(conversations: Any) -> list[str]:
    if isinstance(conversations, str):
        try:
            conversations = json.loads(conversations)
        except json.JSONDecodeError as error:
            raise BadRow(f"conversations is not a list of messages: {error}") from error
    if not isinstance(conversations, list) or not all(isinstance(message, dict) for message in conversations):
        raise BadRow('conversations must be a list such as [{"role": "user", "content": "..."}]')
    messages = [_text(message.get("content")) for message in conversations if message.get("role") == "user"]
    if not messages:
        raise BadRow("conversations has no message whose role is 'user'")
    if not all(messages):
        raise BadRow("conversations has a user message without text")
    return messages


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"expected a text, not {value!r}")
    return value.strip()


def _no_prompt(asked: Mapping[str, Any], recipe: Recipe) -> str:
    if "prompt" in asked:
        return "the prompt is empty"
    return f"no prompt: the row has neither {recipe.columns.prompt!r} nor {recipe.columns.conversations!r}"
