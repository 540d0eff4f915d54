"""Recipe section for a model behind an OpenAI-compatible images API. It never contains the key itself."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from imagemill.data.config.fields import MaybeText, blank_as_none
from imagemill.data.config.server_api import ServerApi, none_as_empty


class Api(ServerApi):
    """Address and request settings of an images API. Used with `backend: openai`."""

    path: ClassVar[str] = "/images/generations"
    reserved: ClassVar = ("model", "prompt", "n", "image", "mask", "size", "quality", "seed", "stream")

    base_url: Annotated[str, BeforeValidator(none_as_empty)] = Field(
        "",
        title="Base URL",
        description="The API's base URL, such as http://localhost:8000/v1; /images/generations is appended.",
    )
    quality: MaybeText = Field(
        None, title="Quality", description="The request's quality, such as high or hd; empty: the model's default."
    )
    size: Annotated[str | None, BeforeValidator(blank_as_none)] = Field(
        None,
        pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$",
        title="Size",
        description="The request's size, such as 1024x1024 or auto, if neither recipe nor row gives a width; "
        "empty: not sent.",
    )
    send_seed: bool = Field(
        True, title="Send seed", description="Send each image's seed; set to false for vendors that reject it."
    )
    extra: dict[str, Any] = Field(
        {}, title="Extra fields", description="Added unchanged to every request, for instance {true_cfg_scale: 4.0}."
    )
    cost_per_image: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        title="Cost per image",
        description="Price of one image, in any currency; the run's total is written to runs.jsonl.",
    )

    def identity(self) -> dict[str, Any]:
        """The settings that decide pixels. Address, timeout and retries do not."""
        settings = {"quality": self.quality, "size": self.size, "extra": self.extra, "without_seed": not self.send_seed}
        return {name: value for name, value in settings.items() if value}
