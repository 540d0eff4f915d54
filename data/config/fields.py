"""What the fields of a recipe's sections may hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from imagemill.data.identity import MAX_SEED

MAX_SIDE = 8192
"""Largest image side, in pixels."""


def _number(value: Any) -> Any:
    # YAML's "yes" and JSON's "true" would else count as 1.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number, not true or false")
    return value


def _blank(value: Any) -> Any:
    """An empty field of a form, or a YAML key with nothing behind it: as if it were not there."""
    return None if isinstance(value, str) and not value.strip() else value


def _blank_or_text(value: Any) -> Any:
    return "" if value is None else _blank(value) or ("" if isinstance(value, str) else value)


def _one_fault(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """What fits none of several kinds is one fault, not one a kind."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError("no_kind_fits", "does not fit") from None


def _off(value: Any) -> Any:
    # To YAML a bare `off` is false.
    return "off" if value is False else value


Number = BeforeValidator(_number)

Size = Annotated[int, Field(ge=8, le=MAX_SIDE, multiple_of=8), Number]
Steps = Annotated[int, Field(ge=1, le=1000), Number]
Guidance = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), Number]
Strength = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), Number]
Seed = Annotated[int, Field(ge=-1, le=MAX_SEED), Number]
BatchSize = Annotated[Annotated[int, Field(ge=1, le=1024), Number] | Literal["auto"], WrapValidator(_one_fault)]
Safety = Annotated[Literal["off", "flag", "set_aside"], BeforeValidator(_off)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
MaybeText = Annotated[str | None, BeforeValidator(_blank)]
OwnOrEmpty = Annotated[str, BeforeValidator(_blank_or_text)]


class Section(BaseModel):
    """What every part of a recipe has in common: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
