"""Names of the schedulers (samplers) that a recipe can use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

SchedulerName = Literal[
    "euler",
    "euler a",
    "heun",
    "dpm2",
    "dpm2 a",
    "dpm++ 2m",
    "dpm++ 2m karras",
    "dpm++ 2m sde",
    "dpm++ 2m sde karras",
    "unipc",
    "deis",
    "ddim",
    "ddpm",
    "pndm",
    "lcm",
    "tcd",
    "euler trailing",
    "ddim trailing",
    "flow-match euler",
    "flow-match heun",
    "flow-match dpm++ 2m",
    "flow-match unipc",
]


def _normalized(value: Any) -> Any:
    """Ignore case, underscores and extra spaces (``DPM++ 2M`` is ``dpm++_2m``); a blank name is None."""
    return " ".join(value.lower().replace("_", " ").split()) or None if isinstance(value, str) else value


Scheduler = Annotated[SchedulerName | None, BeforeValidator(_normalized)]
