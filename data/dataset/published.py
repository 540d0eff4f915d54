"""Recipe as its dataset publishes it: without paths of the machine that built it, which hold names of its users.

A path below the working directory becomes relative to it; of any other the last name stays. The build's state keeps
the paths, so that on this machine rows can still be regenerated with the models that they name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

_PATHS = ("prompts", "output", "models_file", "model", "source", "head")
"""Fields that may hold a path."""

_HERE_ONLY = ("cache_dir",)
"""Fields that mean nothing elsewhere."""

_NAMED = ("model", "source", "head")
"""Fields whose bare name could be taken for another kind: ./name is always a folder or file."""


def publish_recipe(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The recipe to publish, and the paths that it leaves out: dotted field -> path."""
    left_out: dict[str, str] = {}
    return _publish(recipe, "", left_out), left_out


def restore_paths(published: Mapping[str, Any], left_out: Mapping[str, str]) -> dict[str, Any]:
    """A manifest's recipe with the paths that were left out of it; a field that was changed since stays as it is."""
    fields = dict(published)
    for dotted, place in _texts(published, ""):
        path = left_out.get(dotted)
        if path is not None and public_path(dotted, path) == place:
            fields = _with(fields, dotted.split("."), path)
    return fields


def public_path(field: str, path: str) -> str | None:
    """A path as it is published; None if it is not. ``field``: the dotted name of its field."""
    last = _field_of(field)
    if not is_private(path):
        return path
    if last in _HERE_ONLY:
        return None
    if re.match(r"[A-Za-z]:[\\/]", path):
        bare = PureWindowsPath(path).name
    else:
        local = Path(os.path.expanduser(path.removeprefix("file://")))  # noqa: PTH111 - of an unknown user it is unchanged
        if local.is_absolute() and local.is_relative_to(Path.cwd()) and ".." not in local.parts:
            return str(local.relative_to(Path.cwd()))
        bare = local.name
    return f"./{bare}" if last in _NAMED else bare


def is_private(path: str) -> bool:
    """True if a text is a path that says where it lies on this machine."""
    if path.startswith(("file://", "~")) or re.match(r"[A-Za-z]:[\\/]", path):
        return True
    return "://" not in path and (PurePath(path).is_absolute() or ".." in PurePath(path).parts)


def without_home(text: str) -> str:
    """A message that is kept beside the dataset, with the user's home folder as ~."""
    home = str(Path.home())
    return text if home == "/" else re.sub(rf"(?<![\w/]){re.escape(home)}(?![\w-])", "~", text)


def _publish(value: Any, dotted: str, left_out: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _publish(inner, f"{dotted}.{name}".strip("."), left_out) for name, inner in value.items()}
    if isinstance(value, list):
        return [_publish(inner, f"{dotted}.{number}", left_out) for number, inner in enumerate(value)]
    last = _field_of(dotted)
    if not isinstance(value, str) or last not in (*_PATHS, *_HERE_ONLY) or not is_private(value):
        return value
    left_out[dotted] = value
    return public_path(dotted, value)


def _field_of(dotted: str) -> str:
    """The name of a field; of a place in a list, that of the list."""
    return next((name for name in reversed(dotted.split(".")) if not name.isdecimal()), "")


def _texts(value: Any, dotted: str) -> Iterator[tuple[str, str | None]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{dotted}.{name}".strip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{dotted}.{number}")
    else:
        yield dotted, value


def _with(value: Any, place: list[str], path: str) -> Any:
    """A copy of the value with ``path`` in its place."""
    if not place:
        return path
    name, *rest = place
    if isinstance(value, list):
        number = int(name)
        return [_with(inner, rest, path) if index == number else inner for index, inner in enumerate(value)]
    return {**value, name: _with(value[name], rest, path)}
