"""Generator of docs/reference/commands.md from the command line application: `make docs`. With --check, only compares.

Arguments, options and exit codes come from flows/cli. Examples and further explanations are in docs/tools/commands: a
file for each command, and head.md for the page's beginning. Their links are relative to docs/reference.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import App
from cyclopts.argument import Argument
from generated import plain, table, write_or_compare

from imagemill.flows.cli.app import app

PAGE = Path(__file__).parents[1] / "reference/commands.md"
SNIPPETS = Path(__file__).parent / "commands"

ORDER = (
    *("build", "plan", "view", "verify", "history", "diff", "export", "push", "snapshot", "scores", "score"),
    *("models", "scheduler", "worker", "setup-prefect", "--install-completion"),
)
"""Commands in the order of the page; others follow."""

KINDS = {str: "text", int: "whole number", float: "number", Path: "path", bool: "flag"}


def page() -> str:
    """The page's text."""
    names = [name for name in app if name not in {*app.help_flags, *app.version_flags}]
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    commands = [found for name in names for found in _commands(app[name], name)]
    index = [
        f"- [imagemill {name}](#imagemill-{name.replace(' ', '-')}): {_first(command)}" for name, command in commands
    ]
    sections = [_section(name, command) for name, command in commands]
    return "\n\n".join([_snippet("head"), "\n".join(index), *sections]) + "\n"


def _commands(command: App, name: str) -> Iterator[tuple[str, App]]:
    """A command by its full name, and its subcommands."""
    yield name, command
    if not name.startswith("-"):
        for inner in command:
            if not inner.startswith("-"):
                yield from _commands(command[inner], f"{name} {inner}")


def _section(name: str, command: App) -> str:
    arguments = [argument for argument in command.assemble_argument_collection() if _is_listed(argument)]
    takes_recipe = any("--generate.seed" in argument.names for argument in command.assemble_argument_collection())
    rows = [_row(argument) for argument in arguments if argument.parameter.help]
    if takes_recipe:
        rows.append(["`--FIELD VALUE`", "of the field", "of the recipe", "Any field of [the recipe](recipe.md)."])
    parts = [f"## imagemill {name}", _help(command), f"```\n{_usage(name, arguments, takes_recipe)}\n```"]
    if rows:
        parts.append(table(["argument", "value", "default", "meaning"], rows))
    return "\n\n".join([*parts, *filter(None, [_snippet(name)])])


def _is_listed(argument: Argument) -> bool:
    """False for the fields of a recipe, which have a separate page."""
    return not argument.keys and argument.parameter.name != ("*",)


def _usage(name: str, arguments: list[Argument], takes_recipe: bool) -> str:
    words = [f"imagemill {name}"]
    for argument in arguments:
        if argument.index is not None or argument.names[0][0] != "-":
            words.append(argument.names[0] if argument.required else f"[{argument.names[0]}]")
        elif argument.required:
            words.append(f"{argument.names[0]} {_placeholder(argument)}")
    return " ".join([*words, *(["[OPTIONS]"] if arguments else []), *(["[--FIELD VALUE ...]"] if takes_recipe else [])])


def _row(argument: Argument) -> list[str]:
    names = ", ".join(f"`{name}`" for name in argument.names if not re.match(r"--(no|empty)-", name))
    help_text = plain(argument.parameter.help or "")
    if argument.parameter.env_var:
        variables = ", ".join(f"`{name}`" for name in argument.parameter.env_var)
        help_text += f" Environment: {variables}."
    return [names, _kind(argument.hint), _default(argument), help_text]


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) is list:
        return f"{_kind(get_args(hint)[0])}, repeatable"
    members = [member for member in get_args(hint) if member is not type(None)]
    return KINDS[hint] if not members else ", ".join(map(_kind, members))


def _placeholder(argument: Argument) -> str:
    return "|".join(argument.get_choices() or ()) or argument.names[0].lstrip("-").upper()


def _default(argument: Argument) -> str:
    if argument.required:
        return "**required**"
    default = argument.field_info.default
    if default in (None, "", inspect.Parameter.empty) or default is False:
        return ""
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _help(command: App) -> str:
    return re.sub(r"docs/([\w/-]+\.md)", r"[\1](../\1)", inspect.cleandoc(plain(command.help)))


def _first(command: App) -> str:
    """The first sentence of a command's help."""
    text = " ".join(_help(command).split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def _snippet(name: str) -> str:
    path = SNIPPETS / f"{name.lstrip('-').replace(' ', '-')}.md"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


if __name__ == "__main__":
    write_or_compare(PAGE, page())
