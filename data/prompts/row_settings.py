"""Validator of the settings that a row gives: seed, size, steps, guidance and negative prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from imagemill.data.config.fields import Guidance, Number, Size, Steps, blank_as_none
from imagemill.data.errors import BadRow
from imagemill.data.identity import MAX_SEED
from imagemill.data.messages import shown


def _stripped_or_none(value: Any) -> Any:
    return (value.strip() or None) if isinstance(value, str) else value


def _random_as_none(value: Any) -> Any:
    """A blank seed, and -1, by which other tools say "a random one": the row names none."""
    value = blank_as_none(value)
    if isinstance(value, str) and value.strip() in ("-1", "-1.0"):
        return None
    return None if isinstance(value, int | float) and value == -1 else value


class RowSettings(BaseModel):
    """A row's own settings, by the roles that recipe.columns.SETTINGS lists. Blank values count as absent."""

    seed: Annotated[Annotated[int, Field(ge=0, le=MAX_SEED), Number] | None, BeforeValidator(_random_as_none)] = None
    width: Annotated[Size | None, BeforeValidator(blank_as_none)] = None
    height: Annotated[Size | None, BeforeValidator(blank_as_none)] = None
    steps: Annotated[Steps | None, BeforeValidator(blank_as_none)] = None
    guidance_scale: Annotated[Guidance | None, BeforeValidator(blank_as_none)] = None
    negative_prompt: Annotated[str | None, BeforeValidator(_stripped_or_none)] = None


NO_SETTINGS = RowSettings()


def read_settings(values: Mapping[str, Any], names: Mapping[str, str]) -> RowSettings:
    """The settings among a row's values. ``names``: setting -> the field that it comes from. Raises BadRow."""
    if not values:
        return NO_SETTINGS
    try:
        return RowSettings.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        setting, why = str(fault["loc"][0]), fault["msg"]
        name = names.get(setting, setting)
        field = setting if name == setting else f"{setting} ({shown(name, 40)})"
        # A file with the width of another image has its height too.
        switched = ("width", "height") if setting in ("width", "height") else (setting,)
        raise BadRow(
            f"{field} is {shown(fault['input'])}: {why[:1].lower()}{why[1:]}; {left_unread(*switched)}"
        ) from error


def left_unread(*settings: str) -> str:
    """Advice in a message about settings that come from a row: how to leave their columns unread."""
    them = "them" if len(settings) > 1 else "it"
    return f"write columns: {{{', '.join(f'{name}: null' for name in settings)}}} to leave {them} unread"
