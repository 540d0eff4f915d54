"""Field types shared by the recipe's sections: ranges, blank values, YAML's booleans."""

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


def blank_as_none(value: Any) -> Any:
    """Treat an empty form field, or a YAML key without a value, as absent."""
    return None if isinstance(value, str) and not value.strip() else value


def as_list(value: Any) -> Any:
    """Wrap a single text in a list; a blank value is an empty list. Other values pass through for pydantic to check."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    return [value] if isinstance(value, str) else value


def _blank_as_empty(value: Any) -> Any:
    return "" if value is None or (isinstance(value, str) and not value.strip()) else value


def _refuse_bool(value: Any) -> Any:
    # YAML's "yes" and JSON's "true" would otherwise count as 1.
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "must be a number, not true or false")
    return value


def _single_error(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Report one error for a value that matches no member of a union, instead of one per member."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError("no_kind_fits", "does not fit") from None


def _off(value: Any) -> Any:
    # YAML reads a bare `off` as false.
    return "off" if value is False else value


Number = BeforeValidator(_refuse_bool)

Size = Annotated[int, Field(ge=8, le=MAX_SIDE, multiple_of=8), Number]
Steps = Annotated[int, Field(ge=1, le=1000), Number]
Guidance = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), Number]
TrueCfg = Annotated[float, Field(gt=1, le=100, allow_inf_nan=False), Number]
Strength = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), Number]
Seed = Annotated[int, Field(ge=-1, le=MAX_SEED), Number]
BatchSize = Annotated[Annotated[int, Field(ge=1, le=1024), Number] | Literal["auto"], WrapValidator(_single_error)]
Safety = Annotated[Literal["off", "flag", "set_aside"], BeforeValidator(_off)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
MaybeText = Annotated[str | None, BeforeValidator(blank_as_none)]
TextOrEmpty = Annotated[str, BeforeValidator(_blank_as_empty)]


class Section(BaseModel):
    """Base class of the recipe's sections: immutable, unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
