"""Recipe of a command line: a file, flags named after its fields, and assignments by dotted name."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import CycloptsError, Parameter, UnknownOptionError
from pydantic import BaseModel, Field, ValidationError, create_model

from imagemill.data.config.faults.explain import explain_faults
from imagemill.data.config.load import load_recipe, parse_assignment
from imagemill.data.config.recipe import Recipe
from imagemill.data.messages import MAX_REASON, cut

_TYPE = re.compile(r"int|float|str|bool|\w+\[.*\]")
"""Pydantic's names for the members of a union."""


def _flags(section: type[BaseModel]) -> type[BaseModel]:
    """The section with every field optional and unconstrained; the recipe is validated after the flags are applied."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        plain = _plain(field.annotation)
        if get_origin(plain) in (list, dict) and _holds_sections(get_args(plain)[-1]):
            continue  # Lists and mappings of sections can only be written in a file, or with --set.
        fields[name] = (plain | None, Field(None, description=field.description))
    return create_model(f"{section.__name__}Flags", **fields)


def _plain(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        members = (member for member in get_args(kind) if member is not type(None))
        return Union[tuple(map(_plain, members))]  # noqa: UP007 - of a tuple
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        return list[_plain(get_args(kind)[0])]
    if get_origin(kind) is dict:
        return dict[tuple(map(_plain, get_args(kind)))]
    return _flags(kind) if _is_section(kind) else kind


def _holds_sections(kind: Any) -> bool:
    return any(map(_is_section, get_args(kind))) if get_origin(kind) in (Union, UnionType) else _is_section(kind)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


RecipeFile = Annotated[
    Path | None,
    Parameter(
        help="YAML file of the recipe. Options and --set override its fields; without a file, they are the recipe."
    ),
]
Assignments = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=False, help="FIELD=VALUE for a field of the recipe, by its dotted name: --set generate.seed=7."
    ),
]
Flags = Annotated[_flags(Recipe) | None, Parameter(name="*")]


def load_command_line(recipe: Path | None, assignments: list[str] | None, flags: BaseModel | None) -> Recipe:
    """The recipe in a file, if there is one, with assignments and flags applied. Raises RecipeError."""
    overrides = dict(parse_assignment(text) for text in assignments or ())
    overrides |= _dotted(flags.model_dump(exclude_unset=True) if flags else {})
    return load_recipe(recipe or {}, overrides)


def bad_flag(error: CycloptsError) -> str:
    """The error in a command line, in one line; for a recipe's field with the message that a recipe file gets."""
    if isinstance(error.__cause__, ValidationError):
        faults: dict[tuple[int | str, ...], dict[str, Any]] = {}
        for fault in error.__cause__.errors():
            # A field of several types has one fault per type, with the type's name after the field's.
            place = tuple(part for part in fault["loc"] if not _TYPE.fullmatch(str(part)))
            faults.setdefault(place, {**fault, "loc": place})
        return explain_faults(list(faults.values()))
    why = cut(_alike(error) or " ".join(str(error).split()), MAX_REASON)
    return f"{why} 'imagemill COMMAND --help' lists all options."


def _alike(error: CycloptsError) -> str:
    """Suggestions for an unknown option: those whose last part matches."""
    if not isinstance(error, UnknownOptionError):
        return ""
    option = (error.token.keyword or error.token.value).partition("=")[0]
    known = (name for argument in error.argument_collection if argument.parse for name in argument.names)
    found = [name for name in known if name.endswith(f".{option.lstrip('-')}")]
    return f"Unknown option: {option}. Did you mean {' or '.join(found[:3])}?" if found else ""


def _dotted(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _dotted(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
