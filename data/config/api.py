"""How a step calls a model behind an OpenAI-compatible images API, as a recipe gives it. It never holds a key."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_OURS = ("model", "prompt", "n", "image", "mask", "size", "quality", "seed", "stream")


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _not_ours(extra: dict[str, Any]) -> dict[str, Any]:
    for name in _OURS:
        if name in extra:
            raise ValueError(f"extra holds {name!r}, which imagemill sends itself: take it out")
    return extra


def _url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError(f"base_url is {value!r}: it must begin with http:// or https://, and mostly ends with /v1")
    return value.rstrip("/")


class Api(BaseModel):
    """Where an images API is, and how it is asked. Used with `backend: openai`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: Annotated[str, BeforeValidator(lambda value: "" if value is None else value), AfterValidator(_url)] = (
        Field(
            "",
            title="Base URL",
            description="The API's address, such as http://localhost:8000/v1; /images/generations is put behind it.",
        )
    )
    key_env: Annotated[str | None, BeforeValidator(_blank)] = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        title="Key variable",
        description="Environment variable that holds the API's key; empty: OPENAI_API_KEY, if it is set.",
    )
    key_block: Annotated[str | None, BeforeValidator(_blank)] = Field(
        None, title="Key block", description="Name of the Prefect Secret block that holds the key, in its place."
    )
    concurrency: int = Field(
        8, ge=1, le=1024, title="Concurrency", description="Images asked for at once, over all shards of a build."
    )
    timeout: float = Field(
        300.0, gt=0, le=86_400, title="Timeout", description="Seconds after which an answer is no longer waited for."
    )
    retries: int = Field(
        5,
        ge=0,
        le=100,
        title="Retries",
        description="How often a request is made again after 429, 5xx, a timeout or a lost connection.",
    )
    quality: Annotated[str | None, BeforeValidator(_blank)] = Field(
        None, title="Quality", description="Sent as quality, such as high or hd; empty: the model's own."
    )
    size: Annotated[str | None, BeforeValidator(_blank)] = Field(
        None,
        pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$",
        title="Size",
        description="Sent where neither the recipe nor the row has a width: 1024x1024, or auto; empty: nothing.",
    )
    send_seed: bool = Field(
        True, title="Send seed", description="Send each image's seed; false for vendors that know no seed."
    )
    extra: Annotated[dict[str, Any], AfterValidator(_not_ours)] = Field(
        {}, title="Extra fields", description="Sent as they are with every request: {true_cfg_scale: 4.0}."
    )
    cost_per_image: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        title="Cost per image",
        description="What one image costs, in any currency; the run's sum goes into runs.jsonl.",
    )

    def identity(self) -> dict[str, Any]:
        """What of these decides pixels. Where the API is, and how patiently it is asked, does not."""
        said = {"quality": self.quality, "size": self.size, "extra": self.extra, "without_seed": not self.send_seed}
        return {name: value for name, value in said.items() if value}
