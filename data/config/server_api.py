"""Base of the recipe's sections for models behind an OpenAI-compatible API. They never contain the key itself."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from imagemill.data.config.fields import MaybeText, Section, blank_as_none
from imagemill.data.messages import shown
from imagemill.data.storage.origins import BadUrl, origin_of


def none_as_empty(value: Any) -> Any:
    """Treat a YAML key without a value as an empty text."""
    return "" if value is None else value


class ServerApi(Section):
    """Address, key and request settings that all APIs have."""

    path: ClassVar[str] = ""
    """Path that is appended to base_url."""
    reserved: ClassVar[tuple[str, ...]] = ()
    """Request fields that imagemill sets itself."""

    base_url: Annotated[str, BeforeValidator(none_as_empty)] = Field("", title="Base URL")
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

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        # Messages do not repeat it: a user may have put a password or a key into it.
        if not value:
            return value
        try:
            origin_of(value)
        except BadUrl as error:
            raise ValueError(f"{error}; it usually ends in /v1") from error
        if "?" in value or "#" in value:
            raise ValueError(f"it holds a query or a fragment: {cls.path} is appended to it")
        return value.rstrip("/")

    @field_validator("extra", check_fields=False)
    @classmethod
    def _is_free(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for name in cls.reserved:
            if name in extra:
                raise ValueError(f"extra holds {shown(name)}, which imagemill sets itself: remove it")
        return extra
