"""Recipe section for a model behind an OpenAI-compatible images API. It never contains the key itself."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from imagemill.data.config.fields import MaybeText, Section, blank_as_none
from imagemill.data.messages import shown
from imagemill.data.storage.origins import BadUrl, origin_of

_RESERVED = ("model", "prompt", "n", "image", "mask", "size", "quality", "seed", "stream")
"""Request fields that imagemill sets itself."""


def _without_reserved(extra: dict[str, Any]) -> dict[str, Any]:
    for name in _RESERVED:
        if name in extra:
            raise ValueError(f"extra holds {shown(name)}, which imagemill sets itself: remove it")
    return extra


def _none_as_empty(value: Any) -> Any:
    return "" if value is None else value


def _url(value: str) -> str:
    # Messages do not repeat it: a user may have put a password or a key into it.
    if not value:
        return value
    try:
        origin_of(value)
    except BadUrl as error:
        raise ValueError(f"{error}; it usually ends in /v1") from error
    if "?" in value or "#" in value:
        raise ValueError("it holds a query or a fragment: /images/generations is appended to it")
    return value.rstrip("/")


class Api(Section):
    """Address and request settings of an images API. Used with `backend: openai`."""

    base_url: Annotated[str, BeforeValidator(_none_as_empty), AfterValidator(_url)] = Field(
        "",
        title="Base URL",
        description="The API's base URL, such as http://localhost:8000/v1; /images/generations is appended.",
    )
    key_env: Annotated[str | None, BeforeValidator(blank_as_none)] = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        title="Key variable",
        description="Environment variable that contains the API key; empty: OPENAI_API_KEY, if it is set. Keys go only "
        "to api.openai.com, this machine, and the origins in IMAGEMILL_API_HOSTS.",
    )
    key_block: MaybeText = Field(
        None, title="Key block", description="Name of a Prefect Secret block with the key; replaces the key variable."
    )
    concurrency: int = Field(
        8, ge=1, le=1024, title="Concurrency", description="Concurrent requests, across all shards of a build."
    )
    timeout: float = Field(300.0, gt=0, le=86_400, title="Timeout", description="Request timeout in seconds.")
    retries: int = Field(
        5,
        ge=0,
        le=100,
        title="Retries",
        description="How often a request is retried after 429, 5xx, a timeout or a lost connection.",
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
    extra: Annotated[dict[str, Any], AfterValidator(_without_reserved)] = Field(
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
