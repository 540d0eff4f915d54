"""Matcher of a record's fields with the roles of recipe.columns: by name, by path, or by a name that everybody uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from imagemill.data.config.chain import edits_of, generate_of, has_masks
from imagemill.data.config.columns import GUIDES, SETTINGS, Columns
from imagemill.data.config.guides import guides_of
from imagemill.data.config.recipe import Recipe

COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("text", "caption"),
    "conversations": ("messages", "conversation"),
    "images": ("image", "img", "url", "file_name"),
    "edit_prompt": ("instruction",),
}
"""Role -> names, in small letters, by which it is recognised where it is needed and no field has the role's name."""

Path = tuple[str, ...]
"""Names of nested fields, from the outside."""


class Need(NamedTuple):
    """Something that every row must have, from a field of one of these roles."""

    roles: tuple[str, ...]
    names: Mapping[str, str]
    """Common name -> its role, for records without any of the roles' own names."""


@dataclass(frozen=True, slots=True)
class FieldRoles:
    """The fields of a record that imagemill reads, in the record's spelling."""

    columns: Mapping[str, str]
    """Role -> field."""
    settings: Mapping[str, str]
    """Setting -> field."""
    paths: Mapping[str, Path]
    """Role or setting -> path of its value, where no field has the whole name."""
    carried: tuple[str, ...]
    """Fields that imagemill does not read."""
    recognised: Collection[str]
    """Roles whose field has a common name, not the one in recipe.columns."""
    candidates: Mapping[str, Mapping[str, str]]
    """Needed role -> the fields of which each could meet the need, with the role that it would have."""

    def values(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Role -> value, without nulls."""
        found = {role: fields.get(key) for role, key in self.columns.items()}
        if self.paths:
            found |= {role: _inside(fields, path) for role, path in self.paths.items() if role not in SETTINGS}
        return {role: value for role, value in found.items() if value is not None}

    def setting_values(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Setting -> value."""
        found = {name: fields[key] for name, key in self.settings.items()}
        if self.paths:
            found |= {name: _inside(fields, path) for name, path in self.paths.items() if name in SETTINGS}
        return found

    def carried_values(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields to carry into the dataset; of nested ones, what is not read."""
        carried = {key: fields[key] for key in self.carried}
        for outer, *inner in self.paths.values():
            if outer in carried:
                carried[outer] = _without(carried[outer], inner)
                if carried[outer] == {}:
                    del carried[outer]
        return carried

    def name_of(self, role: str) -> str | None:
        """The field or path of a role; None if the record has none."""
        return ".".join(self.paths[role]) if role in self.paths else self.columns.get(role)


class RoleFinder:
    """Finds the roles of one recipe's records. Caches those of the last few headings."""

    def __init__(self, recipe: Recipe) -> None:
        self._needs = list(_needs(recipe))
        unused = {role for role, is_used in _role_usage(recipe) if not is_used}
        # Fields that this recipe does not read are carried into the dataset.
        self._roles = {role: name for role, name in recipe.columns.roles().items() if name and role not in unused}
        self.carried_binary = frozenset(recipe.columns.carry_binary)
        self.image_roles = [role for role in ("images", "mask", *guides_of(recipe)) if role not in unused]
        self._of = lru_cache(maxsize=64)(self._find)

    def of(self, fields: Collection[str], heading: tuple[str, ...] = ()) -> FieldRoles:
        """The roles of a record's fields. ``heading``: all fields of its file, where the file lists them.

        Names match exactly, or if there is none, ignoring case.
        """
        return self._of(tuple(fields), heading)

    def image_fields(self, heading: Collection[str]) -> frozenset[str]:
        """The fields of a file that may hold embedded images, and those that are carried although they are binary."""
        found = self.of(tuple(heading))
        fields = {found.columns[role] for role in self.image_roles if role in found.columns}
        fields |= {found.paths[role][0] for role in self.image_roles if role in found.paths}
        # Each of the candidates may be another's text, or null.
        return self.carried_binary.union(fields, *(found.candidates.get(role, ()) for role in self.image_roles))

    def _find(self, keys: tuple[str, ...], heading: tuple[str, ...]) -> FieldRoles:
        find = _Names(keys)
        columns: dict[str, str] = {}
        settings: dict[str, str] = {}
        paths: dict[str, Path] = {}
        for role, name in self._roles.items():
            if (key := find(name)) is not None:
                (settings if role in SETTINGS else columns)[role] = key
            elif "." in name and (outer := find(name.partition(".")[0])) is not None:
                paths[role] = (outer, *name.split(".")[1:])
        recognised: set[str] = set()
        candidates: dict[str, Mapping[str, str]] = {}
        all_keys = dict.fromkeys([*keys, *heading])
        has_name = _Names(tuple(all_keys)) if heading else find
        for need in self._needs:
            if any(has_name(role) is not None for role in need.roles):
                continue
            found = {key: need.names[key.lower()] for key in all_keys if key.lower() in need.names}
            if len(found) > 1:
                candidates |= dict.fromkeys(need.roles, found)
                continue
            for key, role in found.items():
                columns[role] = key
                recognised.add(role)
        read = {*columns.values(), *settings.values()}
        return FieldRoles(
            columns, settings, paths, tuple(key for key in keys if key not in read), recognised, candidates
        )


class _Names:
    """Finds names among keys: exactly, or if there is none, ignoring case."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = frozenset(keys)
        self._lower = {key.lower(): key for key in reversed(keys)}

    def __call__(self, name: str) -> str | None:
        return name if name in self._keys else self._lower.get(name.lower())


def _needs(recipe: Recipe) -> Iterator[Need]:
    columns = recipe.columns
    edit = next((link.section for link in edits_of(recipe)), None)
    if generate_of(recipe) is not None:
        yield from _need(columns, ("prompt", "conversations"))
        if edit is not None and not edit.instructions:
            yield from _need(columns, ("edit_prompt",))
        return
    yield from _need(columns, ("images",))
    if edit is not None and not edit.instructions:
        # A caption says what an image shows, and not what to change in it.
        without = ("caption",) if edit.task == "instruction" else ()
        yield from _need(columns, ("edit_prompt", "conversations", "prompt"), without)


def _need(columns: Columns, roles: tuple[str, ...], without: tuple[str, ...] = ()) -> Iterator[Need]:
    read = tuple(role for role in roles if getattr(columns, role) is not None)
    # A name that the recipe gives is the only one.
    if all(getattr(columns, role) == Columns.model_fields[role].default for role in read):
        yield Need(read, {name: role for role in read for name in COMMON_NAMES[role] if name not in without})


def _role_usage(recipe: Recipe) -> Iterator[tuple[str, bool]]:
    """(role of recipe.columns, whether this recipe reads it)."""
    yield "images", generate_of(recipe) is None
    yield "aspect_ratio", generate_of(recipe) is not None
    yield "mask", has_masks(recipe)
    guides = guides_of(recipe)
    yield from ((role, role in guides) for role in GUIDES)
    yield "edit_prompt", any(not link.section.instructions for link in edits_of(recipe))


def _inside(value: Any, path: Collection[str]) -> Any:
    """The value at a path through objects and, by numbers from 0, lists; None if there is none."""
    for name in path:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _without(value: Any, path: Collection[str]) -> Any:
    """A copy of nested objects without what is at this path; in a list it stays, since the others' places count."""
    first, *rest = path
    if not isinstance(value, Mapping) or first not in value:
        return value
    others = {name: inner for name, inner in value.items() if name != first}
    if not rest:
        return others
    inner = _without(value[first], rest)
    return others if inner == {} else {**value, first: inner}
