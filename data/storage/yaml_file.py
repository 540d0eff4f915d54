"""Reader of the YAML that users write, in bounded time and memory; its errors repeat nothing of the file.

A file of 300 bytes can stand for billions of values: nine aliases of nine aliases, nine times. Small anchors and merge
keys work as usual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

MAX_BYTES = 8 * 2**20
"""Size of a file."""

MAX_VALUES = 200_000
"""Values in a file, with each alias counted as all that it stands for."""

MAX_CHARACTERS = 16 * 2**20
"""Characters of these values."""

MAX_DEPTH = 64
"""Nesting of lists and mappings: recursive code would run out of stack on deeper ones."""

_MAX_DIGITS = 1000

_TOO_MANY = f"it holds over {MAX_VALUES:,} values, or {MAX_CHARACTERS // 2**20} MiB of text, with its aliases"
_TOO_DEEP = f"its lists and mappings are nested over {MAX_DEPTH} deep"


class BadYaml(Exception):
    """A file or text that is not usable YAML; the message is why, and where, without any of its content."""


if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:
    # libyaml's is ten times as fast.
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """Safe loader that refuses very long numbers: to read 1:1:1:... as one takes time that grows with its square."""

    def construct_yaml_int(self, node: Any) -> int:
        return super().construct_yaml_int(_short(node))

    def construct_yaml_float(self, node: Any) -> float:
        return super().construct_yaml_float(_short(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def _short(node: Any) -> Any:
    if isinstance(node.value, str) and len(node.value) > _MAX_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number of over {_MAX_DIGITS:,} digits", node.start_mark)
    return node


def read_yaml_file(path: Path) -> Any:
    """The content of a YAML file. Raises BadYaml, and OSError where it cannot be read."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise BadYaml(f"it has over {MAX_BYTES // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadYaml(f"it is not UTF-8 (byte {error.start + 1})") from error
    return parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises BadYaml."""
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise BadYaml(_place(error.problem_mark or error.context_mark) + _problem(error.problem)) from error
    except yaml.YAMLError as error:
        raise BadYaml(_problem(getattr(error, "reason", None))) from error
    # What its constructors raise where a tag asks for a number or a date that the text is not.
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise BadYaml("a value does not fit its tag") from error


def check_size(value: Any) -> None:
    """Raise BadYaml if a mapping or list is larger or deeper than a file may be, or contains itself."""
    values = characters = 0
    stack: list[Iterator[Any]] = [iter([value])]
    while stack:
        for item in stack[-1]:
            values += 1
            characters += len(item) if isinstance(item, str | bytes) else 0
            if values > MAX_VALUES or characters > MAX_CHARACTERS:
                raise BadYaml(_TOO_MANY)
            if isinstance(item, Mapping | list | tuple | set | frozenset):
                if len(stack) > MAX_DEPTH:
                    raise BadYaml(_TOO_DEEP)
                stack.append(
                    iter([part for pair in item.items() for part in pair] if isinstance(item, Mapping) else item)
                )
                break
        else:
            stack.pop()


class _Size(NamedTuple):
    values: int = 0
    characters: int = 0

    def __add__(self, other: Any) -> _Size:
        return _Size(self.values + other[0], self.characters + other[1])


def _check_events(text: str) -> None:
    """Walk the text's events, of which there is one for each value that is written, and refuse what grows beyond."""
    anchors: dict[str, _Size | None] = {}
    # The size of each open list or mapping so far, and its anchor.
    open_nodes: list[tuple[_Size, str | None]] = [(_Size(), None)]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            if len(open_nodes) > MAX_DEPTH:
                raise BadYaml(_place(event.start_mark) + _TOO_DEEP)
            if event.anchor:
                anchors[event.anchor] = None
            open_nodes.append((_Size(1), event.anchor))
            continue
        anchor: str | None = None
        if isinstance(event, yaml.ScalarEvent):
            size, anchor = _Size(1, len(event.value)), event.anchor
        elif isinstance(event, yaml.AliasEvent):
            meant = anchors.get(event.anchor or "", _Size(1))
            if meant is None:
                raise BadYaml(_place(event.start_mark) + "an alias stands inside of what it stands for")
            size = meant
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = open_nodes.pop()
        else:
            continue
        if anchor:
            anchors[anchor] = size
        total, outer = open_nodes[-1]
        total += size
        if total.values > MAX_VALUES or total.characters > MAX_CHARACTERS:
            raise BadYaml(_place(event.start_mark) + _TOO_MANY)
        open_nodes[-1] = (total, outer)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _problem(problem: Any) -> str:
    """The parser's words, without what it quotes of the file; a token's name such as '<scalar>' is no content."""
    return re.sub(r"\s*('(?!(<[a-z ]+>|.)')|\").*", "", str(problem or "a syntax error"), flags=re.DOTALL)
