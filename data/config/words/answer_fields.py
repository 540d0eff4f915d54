"""Fields of a model's answer: the recipe's grammar, its JSON schema, and the reading of an answer by it.

An answer's values are data: they are checked and cut here, and never formatted, executed or taken for a path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from imagemill.data.messages import shown

MAX_TEXT_CHARS = 20_000
"""Characters of one text in an answer."""

MAX_ITEMS = 1000
"""Items of one list in an answer."""

MAX_FIELDS = 32
"""Fields of an answer."""

MAX_BOUND = 1_000_000
"""Largest absolute value of a bound in ``1..5``."""

FORMS = "text, number, list, a range of whole numbers such as 1..5, or a list of choices such as [good, bad]"

Kind = Literal["text", "number", "list", "range", "choice"]

FieldForm = str | list[str]
"""A field as the recipe writes it."""

_SIMPLE: Mapping[str, Kind] = {"text": "text", "number": "number", "list": "list"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RANGE = re.compile(r"\s*(-?\d{1,7})\s*\.\.\s*(-?\d{1,7})\s*")
_NUMBER = re.compile(r"\s*-?\d{1,300}(\.\d{1,300})?\s*")


@dataclass(frozen=True, slots=True)
class AnswerField:
    """One field: what its value must be."""

    kind: Kind
    low: int = 0
    """Of a range: its smallest value."""
    high: int = 0
    """Of a range: its largest value."""
    choices: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """True if its value can be a score."""
        return self.kind in ("number", "range")

    def in_words(self) -> str:
        """Rule for its value, for a model and for messages."""
        return {
            "text": "a text",
            "number": "a number",
            "list": "a list of texts",
            "range": f"a whole number from {self.low} to {self.high}",
            "choice": f"one of {', '.join(map(repr, self.choices))}",
        }[self.kind]

    def schema(self) -> dict[str, Any]:
        """Its JSON schema, in the words that every server's grammar knows."""
        schemas: dict[str, dict[str, Any]] = {
            "text": {"type": "string"},
            "number": {"type": "number"},
            "list": {"type": "array", "items": {"type": "string"}},
            "range": {"type": "integer", "minimum": self.low, "maximum": self.high},
            "choice": {"type": "string", "enum": list(self.choices)},
        }
        return schemas[self.kind]


AnswerFields = Mapping[str, AnswerField]
"""Name of a field -> what its value must be."""


def parse_fields(forms: Mapping[str, FieldForm]) -> AnswerFields:
    """The fields that a recipe's ``fields`` describes. Raises ValueError."""
    if not forms:
        raise ValueError(f"it has no field: give at least one, such as {{reason: text}}; allowed are {FORMS}")
    if len(forms) > MAX_FIELDS:
        raise ValueError(f"it has {len(forms):,} fields: at most {MAX_FIELDS} are allowed")
    for name in forms:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{shown(name)} is not a field's name: it must be of letters, digits and _, not begin with a digit, "
                "and have at most 64 characters"
            )
    return {name: _parse(name, form) for name, form in forms.items()}


def _parse(name: str, form: FieldForm) -> AnswerField:
    if isinstance(form, list):
        choices = tuple(choice.strip() for choice in form)
        if len(choices) < 2 or not all(choices):
            raise ValueError(f"{name} is {shown(form)}: choices must be two texts or more, such as [good, bad]")
        if len({choice.lower() for choice in choices}) < len(choices):
            raise ValueError(f"{name} is {shown(form)}, which lists a choice twice: list each once, in one spelling")
        return AnswerField("choice", choices=choices)
    text = form.strip()
    if text in _SIMPLE:
        return AnswerField(_SIMPLE[text])
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} is {shown(form)}: allowed are {FORMS}")
    low, high = int(match[1]), int(match[2])
    if low >= high or max(abs(low), abs(high)) > MAX_BOUND:
        raise ValueError(
            f"{name} is {shown(form)}: the first number must be the smaller one, and both at most {MAX_BOUND:,}"
        )
    return AnswerField("range", low, high)


def json_schema(fields: AnswerFields) -> dict[str, Any]:
    """The JSON schema of an answer: an object with exactly these fields, in this order."""
    return {
        "type": "object",
        "properties": {name: field.schema() for name, field in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def in_words(fields: AnswerFields) -> str:
    """Fields of an answer, as an instruction to a model: its server may not support JSON schemas."""
    described = ", ".join(f'"{name}" ({field.in_words()})' for name, field in fields.items())
    return f"Answer with one JSON object and nothing else. Its fields are: {described}."


def read_values(fields: AnswerFields, parsed: Any) -> dict[str, Any]:
    """The values of an answer's fields, in the recipe's order; what else it holds is left out.

    A text is a str, a number a float, a list a list of str, a range's value an int, a choice one of the choices.
    Raises ValueError that names the field.
    """
    if not isinstance(parsed, dict):
        raise ValueError(f"it is {shown(parsed)}, not a JSON object")
    values = {}
    for name, field in fields.items():
        if name not in parsed:
            raise ValueError(f"it has no field {name}")
        values[name] = _READERS[field.kind](name, field, parsed[name])
    return values


def _wrong(name: str, field: AnswerField, value: Any) -> ValueError:
    return ValueError(f"{name} is {shown(value)}, not {field.in_words()}")


def _text(name: str, field: AnswerField, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, field, value)
    if len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"{name} has {len(value):,} characters: at most {MAX_TEXT_CHARS:,} are read")
    # JSON can hold halves of a surrogate pair, which no file can.
    return value.encode("utf-8", "replace").decode().strip()


def _number(name: str, field: AnswerField, value: Any) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    # An integer of any length is compared, not converted, before it is known to be small.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
        raise _wrong(name, field, value)
    return float(value)


def _list(name: str, field: AnswerField, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _wrong(name, field, value)
    if len(value) > MAX_ITEMS:
        raise ValueError(f"{name} has {len(value):,} items: at most {MAX_ITEMS:,} are read")
    return [_text(name, field, item) for item in value]


def _range(name: str, field: AnswerField, value: Any) -> int:
    try:
        number = _number(name, field, value)
    except ValueError:
        raise _wrong(name, field, value) from None
    if not math.isfinite(number) or number != int(number) or not field.low <= number <= field.high:
        raise _wrong(name, field, value)
    return int(number)


def _choice(name: str, field: AnswerField, value: Any) -> str:
    for choice in field.choices:
        if isinstance(value, str) and value.strip().lower() == choice.lower():
            return choice
    raise _wrong(name, field, value)


_READERS = {"text": _text, "number": _number, "list": _list, "range": _range, "choice": _choice}
