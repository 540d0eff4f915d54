"""Generator of docs/reference/recipe.md from the recipe's classes: `make docs`. With --check, only compares it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generated import write_or_compare

from imagemill.data.config.recipe import Recipe

PAGE = Path(__file__).parents[1] / "reference/recipe.md"

CHAT_API = "chat-api"
"""Section on the API of a language model; that of an images API is called by its field."""

HEAD = """# The recipe

A recipe is a YAML file, the form in the Prefect dashboard, or flags: `generate.seed` below is `generate: {seed: 7}` in
YAML, `--generate.seed 7` as a flag, and `--set generate.seed=7` to override a file. `make docs` generates this page
from the recipe's classes (`data/config/recipe.py`).

A row of the prompts file may set its own `seed`, `negative_prompt`, `width`, `height`, `steps` and `guidance_scale`.
They apply to `generate` if images are generated, and to the first edit if images come from the rows. Columns that
imagemill does not read are carried into the dataset.

`generate` and `edit` are the short form of `steps: [{generate: ...}, {edit: ...}]`, which may continue with more edits;
the fields of a step have names such as `steps.1.edit.seed`, counted from 0. See
[chains.md](../topics/chains.md).

"""


def page() -> str:
    """The page's text."""
    schema = Recipe.model_json_schema()
    tables = [_table("Recipe", schema, schema, "")]
    for name in ("generate", "edit", "columns", "images", "checks"):
        section = _resolve(schema["properties"][name], schema)
        tables.append(_table(name, section, schema, f"{name}."))
    for name in ("template", "sweep"):
        tables.append(_table(name, _resolve(schema["properties"][name], schema), schema, f"{name}."))
    generate = _resolve(schema["properties"]["generate"], schema)
    for name in ("api", "speed", "memory", "controlnet", "ip_adapter"):
        tables.append(_table(name, _resolve(generate["properties"][name], schema), schema, f"generate.{name}."))
    tables.append(_table("select", _resolve(generate["properties"]["select"], schema), schema, "generate.select."))
    bounds = schema["$defs"]["Bounds"]
    tables.append(_table("where", bounds, schema, "generate.select.where.NAME."))
    tables.append(_table("lora", _item(generate["properties"]["lora"], schema), schema, "generate.lora.0."))
    tables.append(_table("parts", schema["$defs"]["Part"], schema, "generate.parts.NAME."))
    llm = _item(schema["properties"]["llm"], schema)
    tables.append(_table("llm", llm, schema, "llm.0."))
    tables.append(_table(CHAT_API, _resolve(llm["properties"]["api"], schema), schema, "llm.0.api."))
    for name in ("given", "splits", "duplicates", "pairs"):
        tables.append(_table(name, _resolve(schema["properties"][name], schema), schema, f"{name}."))
    tables.append("## scorers\n\nA scorer has a name, and a section of one of these kinds.\n")
    for choice in schema["properties"]["scorers"]["additionalProperties"]["oneOf"]:
        section = _resolve(choice, schema)
        kind = section["properties"]["kind"]
        others = {name: field for name, field in section["properties"].items() if field is not kind}
        table = _table(kind["const"], {**section, "properties": {"kind": kind, **others}}, schema, "scorers.NAME.")
        tables.append(f"#{table}")
    # A name in angle brackets would be taken for HTML.
    return HEAD + "\n".join(tables).replace("<", "\\<")


def _table(title: str, section: dict[str, Any], schema: dict[str, Any], prefix: str) -> str:
    lines = [f"## {title}", "", section.get("description", ""), "", "| field | allowed | default | what it does |"]
    lines.append("|---|---|---|---|")
    for name, field in section["properties"].items():
        if _resolve(field, schema) is not field:
            anchor = CHAT_API if "/ChatApi" in str(field) else name
            what = f"{field['description']} See [{anchor}](#{anchor})."
            default = "absent" if field.get("default", ...) is None else "see there"
            lines.append(f"| `{prefix}{name}` | a section | {default} | {what} |")
            continue
        link = "../topics/chains.md" if name == "steps" else f"#{name}"
        more = f" See [{name}]({link})." if _has_sections(field) else ""
        lines.append(f"| `{prefix}{name}` | {_allowed(field)} | {_default(field)} | {field['description']}{more} |")
    return "\n".join([*lines, ""])


def _resolve(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for choice in (field, *field.get("anyOf", ())):
        if "$ref" in choice:
            return schema["$defs"][choice["$ref"].rsplit("/", 1)[1]]
    return field


def _has_sections(field: dict[str, Any]) -> bool:
    """Whether it is a list or a mapping of sections."""
    inner = field.get("items", field.get("additionalProperties", {}))
    return isinstance(inner, dict) and ("$ref" in inner or "oneOf" in inner)


def _item(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The section that a list of sections has."""
    return _resolve(field["items"], schema)


def _allowed(field: dict[str, Any]) -> str:
    choices = [_allowed_one(choice) for choice in field.get("anyOf", [field]) if choice.get("type") != "null"]
    return ", ".join(choices)


def _allowed_one(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field["type"] == "boolean":
        return "`true`, `false`"
    if _has_sections(field):
        return "list of sections" if field["type"] == "array" else "name: a section"
    if field["type"] == "object":
        return (
            "a mapping" if field["additionalProperties"] is True else f"name: {_allowed(field['additionalProperties'])}"
        )
    if field["type"] == "array" and field["items"]["type"] != "string":
        return f"list; each a {_allowed_one(field['items'])}"
    kind = {"integer": "whole number", "number": "number", "string": "text", "array": "list of texts"}[field["type"]]
    if "minimum" in field and "maximum" in field:
        kind += f", {field['minimum']:g} to {field['maximum']:.15g}"
    elif "minimum" in field:
        kind += f", at least {field['minimum']:g}"
    if "exclusiveMinimum" in field:
        kind += f", above {field['exclusiveMinimum']:g}"
        kind += f" to {field['maximum']:g}" if "maximum" in field else ""
    if "exclusiveMaximum" in field:
        kind += f" and below {field['exclusiveMaximum']:g}"
    if "multipleOf" in field:
        kind += f", multiple of {field['multipleOf']}"
    return kind


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "**required**"
    if isinstance(field["default"], bool):
        return f"`{str(field['default']).lower()}`"
    return "empty" if field["default"] in (None, "", [], {}) else f"`{field['default']}`"


if __name__ == "__main__":
    write_or_compare(PAGE, page())
