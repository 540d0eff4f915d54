"""Parsing of an API's responses: an image, the reason of a refusal, the time to wait."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

MAX_BYTES = 256 * 2**20
"""Size limit of a response with an image."""

MAX_TEXT = 500
"""Characters of a refusal that messages repeat."""

_ROW_FIELDS = frozenset({"prompt", "image", "image[]", "mask", "messages", "input"})


class Unusable(Exception):
    """A response that should contain an image and does not."""


class TooLong(Unusable):
    """A response that is longer than any that is read."""


async def read_capped(response: httpx.Response, limit: int = MAX_BYTES) -> bytes:
    """The whole body. Raises TooLong where it has over ``limit`` bytes; the rest is not read then."""
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > limit:
            raise TooLong(f"the API's answer has over {limit // 2**20} MiB")
    return bytes(content)


def read_image(content: bytes) -> bytes | str:
    """The encoded image in a response, or its URL. Raises Unusable."""
    try:
        first = json.loads(content)["data"][0]
        encoded, address = first.get("b64_json"), first.get("url")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(f"the API's answer is malformed: {excerpt(content)}") from error
    if isinstance(encoded, str) and encoded:
        return _decode(encoded)
    if isinstance(address, str) and address.startswith("data:"):
        return _decode(address)
    if isinstance(address, str) and address.startswith(("http://", "https://")):
        return address
    raise Unusable(f"the API's answer has neither b64_json nor url: {excerpt(content)}")


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unusable(f"the API's answer is malformed: its b64_json is not base64 ({error})") from error


def explain(content: bytes) -> str:
    """The API's own message in a refusal, or the beginning of its body."""
    message = _error(content).get("message")
    return " ".join(message.split())[:MAX_TEXT] if isinstance(message, str) and message.strip() else excerpt(content)


def field_at_fault(content: bytes) -> str | None:
    """The field that a refusal names, if its value is the same in every request."""
    field = _error(content).get("param")
    return field if isinstance(field, str) and field and field not in _ROW_FIELDS else None


def is_filtered(content: bytes) -> bool:
    """True if a refusal is a content filter's: it concerns the question, and another request changes nothing."""
    error = _error(content)
    return any(error.get(name) in ("content_filter", "content_policy_violation") for name in ("code", "type"))


def is_out_of_money(content: bytes) -> bool:
    """True if a 429 is about an exhausted account, where waiting does not help."""
    error = _error(content)
    return "insufficient_quota" in (error.get("code"), error.get("type"))


def _error(content: bytes) -> dict[str, Any]:
    """OpenAI's {"error": {...}}, vLLM's own flat form, or FastAPI's {"detail": ...}."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    error = body.get("error", body.get("detail", body))
    return error if isinstance(error, dict) else {"message": error if isinstance(error, str) else json.dumps(error)}


def excerpt(content: bytes) -> str:
    """The beginning of a body, for messages."""
    text = " ".join(content[: 2 * MAX_TEXT].decode("utf-8", "replace").split())
    return repr(text[:200]) if text else "an empty body"


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait, from a Retry-After with a number or a date; None without a valid one."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
