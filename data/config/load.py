"""Recipe loader: a YAML file, a mapping and dotted overrides, validated into a Recipe or one clear error message."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.secrets import refuse_tokens
from imagemill.data.config.shipped import find_recipe
from imagemill.data.errors import RecipeError
from imagemill.data.messages import cut, field_path, shown, shown_path
from imagemill.data.storage.yaml_file import BadYaml, check_size, parse_yaml, read_yaml_file

_SECRET = ("base_url", "extra", "key_block", "key_env")
"""Fields that a user may have put a key into by mistake: messages name them without their value."""


def load_recipe(source: Recipe | Mapping[str, Any] | str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Load and validate a recipe.

    ``source`` is a Recipe, a mapping of its fields, the path of a YAML file, or the name of a shipped recipe.
    ``overrides`` maps dotted field names to values (``{"generate.seed": 7}``) and takes precedence over the source.
    Raises RecipeError.
    """
    if isinstance(source, Recipe):
        fields = source.model_dump(exclude_unset=True)
    elif isinstance(source, Mapping):
        fields = dict(source)
    else:
        fields = read_yaml(find_recipe(Path(source)))
    for dotted, value in (overrides or {}).items():
        set_field(fields, dotted, value)
    return parse_recipe(fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a recipe file. Raises RecipeError if there is none."""
    try:
        fields = read_yaml_file(path)
    except OSError as error:
        raise RecipeError(
            f"cannot read the recipe {shown_path(path)}: {error.strerror or type(error).__name__}."
        ) from error
    except BadYaml as error:
        raise RecipeError(f"the recipe {shown_path(path)} is not valid YAML: {error}.") from error
    if not isinstance(fields, dict):
        # Its type, not its content: the path may name any file of this machine.
        raise RecipeError(
            f"the recipe {shown_path(path)} must be a mapping such as 'prompts: prompts.jsonl', not {_kind(fields)}."
        )
    return fields


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse ``generate.seed=7`` into ``("generate.seed", 7)``; the value is YAML. Raises RecipeError."""
    dotted, equals, value = text.partition("=")
    if not equals or not dotted.strip():
        raise RecipeError(f"--set {shown(text)} is not of the form field=value, for instance --set generate.seed=7.")
    try:
        return dotted.strip(), parse_yaml(value)
    except BadYaml as error:
        raise RecipeError(f"--set {shown(text)}: the value is not valid YAML; put it in quotes ({error}).") from error


def set_field(fields: dict[str, Any], dotted: str, value: Any) -> None:
    """Set ``fields["a"]["b"]`` for ``"a.b"``, adding missing sections.

    List positions count from 0: ``steps.1.edit.seed``. Raises RecipeError for a position that the list does not have.
    """
    *sections, last = dotted.split(".")
    parent: Any = fields
    for section in sections:
        key: Any = _key_in(parent, section, dotted)
        child = parent[key] if isinstance(parent, list) else parent.get(key)
        # Copied, so that the caller's mapping stays as it is.
        parent[key] = list(child) if isinstance(child, list) else dict(child) if isinstance(child, Mapping) else {}
        parent = parent[key]
    parent[_key_in(parent, last, dotted)] = value


def _key_in(parent: Any, name: str, dotted: str) -> str | int:
    if not isinstance(parent, list):
        return name
    if not name.isdecimal() or int(name) >= len(parent):
        raise RecipeError(
            f"{shown(dotted)}: {shown(name)} is not a place in a list of {len(parent)}, which counts from 0."
        )
    return int(name)


def parse_recipe(fields: Mapping[str, Any]) -> Recipe:
    """Validate the fields. Raises RecipeError that names the first invalid field, its value and what is allowed."""
    try:
        check_size(fields)
    except BadYaml as error:
        raise RecipeError(f"the recipe is too large: {error}.") from error
    refuse_tokens(fields)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError(explain_faults(error.errors())) from error


def explain_faults(faults: Sequence[Mapping[str, Any]]) -> str:
    """Describe the first of pydantic's errors: the field, its value and what is allowed."""
    more = f" ({len(faults) - 1} more after this one.)" if len(faults) > 1 else ""
    # Unknown fields first: the file may be no recipe at all, and then its values are not to be repeated.
    return _explain_fault(min(faults, key=lambda fault: fault["type"] != "extra_forbidden")) + more


def _explain_fault(fault: Mapping[str, Any]) -> str:
    field = field_path(("recipe", *_written(fault["loc"])))
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    is_value = field if set(fault["loc"]) & set(_SECRET) else f"{field} is {_scalar(value)}"
    match kind:
        case "missing":
            return f"{field} is missing: {_describe(fault['loc'])}"
        case "union_tag_not_found":
            return f"{field}.kind is missing: it must be one of {', '.join(_kinds(fault['loc']))}."
        case "union_tag_invalid":
            return f"{field}.kind is {shown(context['tag'])}: it must be one of {', '.join(_kinds(fault['loc']))}."
        case "extra_forbidden":
            known = list(_section(fault["loc"][:-1]).model_fields)
            close = difflib.get_close_matches(cut(str(fault["loc"][-1])), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            return f"{field} is not a field: {hint}Known here: {', '.join(known)}."
        case "value_error":
            return f"{field}: {context['error']}."
        case "model_attributes_type":
            return f"{is_value}: it must be a section, such as {{kind: {_kinds(fault['loc'])[0]}, ...}}."
        case "model_type":
            first = next(iter(_section(fault["loc"]).model_fields))
            return f"{is_value}: it must be a section, such as {{{first}: ...}}, or left out."
        case "string_type" if isinstance(value, bool):
            return f"{is_value}: YAML reads yes, no, on and off as booleans; put the text in quotes."
        case "string_pattern_mismatch":
            return f"{is_value}, which does not fit: {_describe(fault['loc'])}"
        case _:
            allowed = _allowed_numbers(fault["loc"]) or f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
            return f"{is_value}: {allowed}. {_describe(fault['loc'])}".strip()


def _scalar(value: Any) -> str:
    """A single value as it is; of a list or mapping only its kind, since a file that is no recipe has any content."""
    return _kind(value) if isinstance(value, Mapping | list | tuple | set) else shown(value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case [] | {} if not value:
            return repr(value)
        case str():
            return "a text"
        case list() | tuple() | set():
            return f"a list of {len(value)}"
        case Mapping():
            return f"a mapping with {len(value)} entries" if len(value) != 1 else "a mapping with one entry"
        case _:
            return "a single value"


def _section(path: tuple[str | int, ...]) -> type[BaseModel]:
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


def _written(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The path without what pydantic adds to the fields and keys that the user wrote."""
    kind: Any = Recipe
    written = []
    for part in path:
        if part != "[key]" and len(_kinds_of(_choices(kind))) < 2:
            written.append(part)
        kind = _inside(kind, part)
    return tuple(written)


def _kinds(path: tuple[str | int, ...]) -> list[str]:
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


def _allowed_numbers(path: tuple[str | int, ...]) -> str:
    """The range of a numeric field, in words; empty for other fields."""
    *section, name = path or ("",)
    while section and isinstance(name, int):
        *section, name = section
    schema = _section(tuple(section)).model_json_schema()["properties"].get(name, {})
    words = "".join(f", or {kind['const']!r}" for kind in schema.get("anyOf", ()) if "const" in kind)
    for kind in (schema, *schema.get("anyOf", ())):
        if kind.get("type") in ("integer", "number") and "minimum" in kind:
            number = "a whole number" if kind["type"] == "integer" else "a number"
            steps = f", a multiple of {kind['multipleOf']}" if "multipleOf" in kind else ""
            if "maximum" not in kind:
                return f"it must be {number}, at least {kind['minimum']:g}{words}"
            return f"it must be {number} from {kind['minimum']:g} to {_plain(kind['maximum'])}{steps}{words}"
    return ""


def _describe(path: tuple[str | int, ...]) -> str:
    names = list(path)
    # Of a place in a list, the list; of a key in a mapping, the mapping.
    while names and names[-1] not in _section(tuple(names[:-1])).model_fields:
        names.pop()
    return _section(tuple(names[:-1])).model_fields[str(names[-1])].description or "" if names else ""


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.10g}"
