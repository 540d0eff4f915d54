"""Recipe loader: a YAML file, a mapping and dotted overrides, validated into a Recipe or one clear error message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imagemill.data.config.faults.explain import explain_faults, kind_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.secrets import refuse_tokens
from imagemill.data.config.shipped import find_recipe
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.yaml_file import BadYaml, check_size, parse_yaml, read_yaml_file


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
            f"the recipe {shown_path(path)} must be a mapping such as 'prompts: prompts.jsonl', not {kind_of(fields)}."
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
