"""Presets of distilled models, and of LoRAs that distil one: steps, guidance and scheduler that belong together."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from imagemill.data.config.schedulers import Scheduler
from imagemill.data.messages import shown


class Preset(BaseModel):
    """Steps, guidance and scheduler of a model whose recipe names none of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=0)
    scheduler: Scheduler = None
    """None: the model's own."""


PRESETS: dict[str, Preset] = {
    **{f"lightning-{steps}": Preset(steps=steps, guidance_scale=0, scheduler="euler trailing") for steps in (2, 4, 8)},
    **{f"hyper-{steps}": Preset(steps=steps, guidance_scale=0, scheduler="ddim trailing") for steps in (2, 4, 8)},
    "lcm": Preset(steps=4, guidance_scale=1, scheduler="lcm"),
    "turbo": Preset(steps=1, guidance_scale=0),
}
"""For Stable Diffusion and SDXL, as the model cards of ByteDance/SDXL-Lightning, ByteDance/Hyper-SD,
latent-consistency/lcm-lora-sdxl and stabilityai/sdxl-turbo have them. The number is that of steps, as in the names of
their files."""


def _named(value: Any) -> Any:
    """A preset by its name, in any capitals; pydantic checks the rest."""
    if not isinstance(value, str):
        return value
    if found := PRESETS.get(value.strip().lower()):
        return found
    raise ValueError(f"{shown(value)} is no preset; these are: {', '.join(PRESETS)}, or give steps and guidance_scale")


NamedPreset = Annotated[Preset | None, BeforeValidator(_named)]
"""A preset, or the name of one."""
