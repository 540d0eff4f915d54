"""Lookup of a place in the recipe's classes: its section, its kinds, and its path as the user wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from imagemill.data.config.recipe import Recipe


def section_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """The class of the section at ``path``, or of the innermost one around it."""
    section: type[BaseModel] = Recipe
    kind: Any = Recipe
    for part in path:
        kind = _inside(kind, part)
        section = next(filter(_is_model, _choices(kind)), section)
    return section


def _inside(kind: Any, part: str | int) -> Any:
    """The type of what is at ``part`` in a value of a type; of a union of sections, the one of the kind ``part``."""
    choices = _choices(kind)
    sections = _kinds_of(choices)
    if len(sections) > 1:
        return sections.get(str(part))
    for choice in choices:
        if _is_model(choice) and part in choice.model_fields:
            return choice.model_fields[part].annotation
        if get_origin(choice) in (list, dict):
            return get_args(choice)[-1]
    return None


def as_written(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The path without what pydantic adds to the fields and keys that the user wrote."""
    kind: Any = Recipe
    written = []
    for part in path:
        if part != "[key]" and len(_kinds_of(_choices(kind))) < 2:
            written.append(part)
        kind = _inside(kind, part)
    return tuple(written)


def kinds_at(path: tuple[str | int, ...]) -> list[str]:
    """Values of the field `kind` in the section at ``path``."""
    kind: Any = Recipe
    for part in path:
        kind = _inside(kind, part)
    return [repr(name) for name in _kinds_of(_choices(kind))]


def _kinds_of(choices: Sequence[Any]) -> dict[str, Any]:
    sections = [choice for choice in choices if _is_model(choice) and "kind" in choice.model_fields]
    return {get_args(section.model_fields["kind"].annotation)[0]: section for section in sections}


def _choices(kind: Any) -> list[Any]:
    """The members of a union, or the type alone."""
    if get_origin(kind) is Annotated:
        return _choices(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [choice for member in get_args(kind) for choice in _choices(member)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
