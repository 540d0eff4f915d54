"""Explanation of pydantic's errors: one message with the field, its value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from imagemill.data.config.faults.lookup import as_written, kinds_at, section_at
from imagemill.data.messages import cut, field_path, shown

_SECRET = ("base_url", "extra", "key_block", "key_env")
"""Fields that a user may have put a key into by mistake: messages name them without their value."""


def explain_faults(faults: Sequence[Mapping[str, Any]]) -> str:
    """Describe the first of pydantic's errors: the field, its value and what is allowed."""
    more = f" ({len(faults) - 1} more after this one.)" if len(faults) > 1 else ""
    # Unknown fields first: the file may be no recipe at all, and then its values are not to be repeated.
    return _explain_fault(min(faults, key=lambda fault: fault["type"] != "extra_forbidden")) + more


def _explain_fault(fault: Mapping[str, Any]) -> str:
    field = field_path(("recipe", *as_written(fault["loc"])))
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    is_value = field if set(fault["loc"]) & set(_SECRET) else f"{field} is {_scalar(value)}"
    match kind:
        case "missing":
            return f"{field} is missing: {_describe(fault['loc'])}"
        case "union_tag_not_found":
            return f"{field}.kind is missing: it must be one of {', '.join(kinds_at(fault['loc']))}."
        case "union_tag_invalid":
            return f"{field}.kind is {shown(context['tag'])}: it must be one of {', '.join(kinds_at(fault['loc']))}."
        case "extra_forbidden":
            known = list(section_at(fault["loc"][:-1]).model_fields)
            close = difflib.get_close_matches(cut(str(fault["loc"][-1])), known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            return f"{field} is not a field: {hint}Known here: {', '.join(known)}."
        case "value_error":
            return f"{field}: {context['error']}."
        case "model_attributes_type":
            return f"{is_value}: it must be a section, such as {{kind: {kinds_at(fault['loc'])[0]}, ...}}."
        case "model_type":
            first = next(iter(section_at(fault["loc"]).model_fields))
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
    return kind_of(value) if isinstance(value, Mapping | list | tuple | set) else shown(value)


def kind_of(value: Any) -> str:
    """The kind of a value in words, without its content."""
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


def _allowed_numbers(path: tuple[str | int, ...]) -> str:
    """The range of a numeric field, in words; empty for other fields."""
    *section, name = path or ("",)
    while section and isinstance(name, int):
        *section, name = section
    schema = section_at(tuple(section)).model_json_schema()["properties"].get(name, {})
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
    while names and names[-1] not in section_at(tuple(names[:-1])).model_fields:
        names.pop()
    return section_at(tuple(names[:-1])).model_fields[str(names[-1])].description or "" if names else ""


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.10g}"
