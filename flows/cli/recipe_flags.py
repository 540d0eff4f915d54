"""A recipe on the command line: a file, flags named as its fields are, and assignments by dotted names."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import CycloptsError, Parameter, UnknownOptionError
from pydantic import BaseModel, Field, ValidationError, create_model

from imagemill.data.config.load import explain_faults, load_recipe, parse_assignment
from imagemill.data.config.recipe import Recipe

_TYPE = re.compile(r"int|float|str|bool|\w+\[.*\]")
"""What pydantic calls the types of a union."""


def _flags(section: type[BaseModel]) -> type[BaseModel]:
    """The section with every field optional and unchecked: what is given goes over the recipe, and that is checked."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        plain = _plain(field.annotation)
        if get_origin(plain) is list and _is_section(get_args(plain)[0]):
            continue  # A list of sections is for a file.
        fields[name] = (plain | None, Field(None, description=field.description))
    return create_model(f"{section.__name__}Flags", **fields)


def _plain(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(_plain(one) for one in get_args(kind) if one is not type(None))]  # noqa: UP007 - of a tuple
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is list:
        return list[_plain(get_args(kind)[0])]
    if get_origin(kind) is dict:
        return dict[tuple(map(_plain, get_args(kind)))]
    return _flags(kind) if _is_section(kind) else kind


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


RecipeFile = Annotated[
    Path | None,
    Parameter(help="A YAML file. Flags and --set go over what it says; without one, flags are the recipe."),
]
Assignments = Annotated[
    list[str] | None,
    Parameter(consume_multiple=False, help="field=value, with the field's dotted name: --set generate.seed=7"),
]
Flags = Annotated[_flags(Recipe) | None, Parameter(name="*")]


def given_recipe(recipe: Path | None, assignments: list[str] | None, flags: BaseModel | None) -> Recipe:
    """The recipe in a file, or none, with what was given beside it. Raises RecipeError."""
    overrides = dict(parse_assignment(text) for text in assignments or ())
    overrides |= _dotted(flags.model_dump(exclude_unset=True) if flags else {})
    return load_recipe(recipe or {}, overrides)


def bad_flag(error: CycloptsError) -> str:
    """What is wrong with a command line, in one line; with a recipe's field as the recipe's own check says it."""
    if isinstance(error.__cause__, ValidationError):
        faults: dict[tuple[int | str, ...], dict[str, Any]] = {}
        for fault in error.__cause__.errors():
            # Of a field with several types each is a fault of its own, with its name behind the field's.
            place = tuple(part for part in fault["loc"] if not _TYPE.fullmatch(str(part)))
            faults.setdefault(place, {**fault, "loc": place})
        return explain_faults(list(faults.values()))
    return f"{_alike(error) or ' '.join(str(error).split())} 'imagemill COMMAND --help' names what there is."


def _alike(error: CycloptsError) -> str:
    """For an option that there is not: those that end with its name, as fields of several sections do."""
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
