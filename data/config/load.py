"""Recipe loader: a YAML file, a mapping and dotted overrides, validated into a Recipe or one clear error message."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.secrets import refuse_tokens
from imagemill.data.config.shipped import find_recipe
from imagemill.data.errors import RecipeError, one_line


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
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {str(path)!r}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {str(path)!r} is not valid YAML: {one_line(error, None)}.") from error
    if not isinstance(fields, dict):
        raise RecipeError(
            f"the recipe {str(path)!r} must be a mapping such as 'prompts: prompts.jsonl', not {fields!r}."
        )
    return fields


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse ``generate.seed=7`` into ``("generate.seed", 7)``; the value is YAML. Raises RecipeError."""
    dotted, equals, value = text.partition("=")
    if not equals or not dotted.strip():
        raise RecipeError(f"--set {text!r} is not of the form field=value, for instance --set generate.seed=7.")
    try:
        return dotted.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {text!r}: the value is not valid YAML; put it in quotes.") from error


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
        raise RecipeError(f"{dotted!r}: {name!r} is not a place in a list of {len(parent)}, which counts from 0.")
    return int(name)


def parse_recipe(fields: Mapping[str, Any]) -> Recipe:
    """Validate the fields. Raises RecipeError that names the first invalid field, its value and what is allowed."""
    refuse_tokens(fields)
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError(explain_faults(error.errors())) from error


def explain_faults(faults: Sequence[Mapping[str, Any]]) -> str:
    """Describe the first of pydantic's errors: the field, its value and what is allowed."""
    more = f" ({len(faults) - 1} more after this one.)" if len(faults) > 1 else ""
    return _explain_fault(faults[0]) + more


def _explain_fault(fault: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in ("recipe", *fault["loc"]))
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    match kind:
        case "missing":
            return f"{field} is missing: {_describe(fault['loc'])}"
        case "extra_forbidden":
            known = list(_section(fault["loc"][:-1]).model_fields)
            close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            return f"{field} is not a field: {hint}Known here: {', '.join(known)}."
        case "value_error":
            return f"{field}: {context['error']}."
        case "model_type":
            first = next(iter(_section(fault["loc"]).model_fields))
            return f"{field} is {value!r}: it must be a section, such as {{{first}: ...}}, or left out."
        case "string_type" if isinstance(value, bool):
            return f"{field} is {value!r}: YAML reads yes, no, on and off as booleans; put the text in quotes."
        case "string_pattern_mismatch":
            return f"{field} is {value!r}, which does not fit: {_describe(fault['loc'])}"
        case _:
            allowed = _allowed_numbers(fault["loc"]) or f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
            return f"{field} is {value!r}: {allowed}. {_describe(fault['loc'])}".strip()


def _section(path: tuple[str | int, ...]) -> type[BaseModel]:
    """The class of the section at ``path``."""
    section: type[BaseModel] = Recipe
    for part in path:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(str(part))
        inner = field and next((t for t in (field.annotation, *get_args(field.annotation)) if _is_model(t)), None)
        if inner is None:
            break
        section = inner
    return section


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _allowed_numbers(path: tuple[str | int, ...]) -> str:
    """The range of a numeric field, in words; empty for other fields."""
    *section, name = [str(part) for part in path if not isinstance(part, int)] or [""]
    schema = _section(tuple(section)).model_json_schema()["properties"].get(name, {})
    words = "".join(f", or {kind['const']!r}" for kind in schema.get("anyOf", ()) if "const" in kind)
    for kind in (schema, *schema.get("anyOf", ())):
        if kind.get("type") in ("integer", "number") and "minimum" in kind:
            number = "a whole number" if kind["type"] == "integer" else "a number"
            steps = f", a multiple of {kind['multipleOf']}" if "multipleOf" in kind else ""
            return f"it must be {number} from {kind['minimum']:g} to {kind['maximum']:.10g}{steps}{words}"
    return ""


def _describe(path: tuple[str | int, ...]) -> str:
    names = [str(part) for part in path if not isinstance(part, int)]
    field = _section(tuple(names[:-1])).model_fields.get(names[-1]) if names else None
    return (field.description or "") if field else ""
