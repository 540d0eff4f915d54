"""Reading of a chat completion: the model's words, and the values in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from imagemill.data.config.words.answer_fields import AnswerFields, read_values
from imagemill.data.messages import shown
from imagemill.models.api.responses import Unusable, excerpt

MAX_BYTES = 2**20
"""Size limit of a response with words; of a longer one nothing is read."""

MAX_STARTS = 50
"""Opening braces that are tried as the beginning of an answer's JSON object."""

_DECODER = json.JSONDecoder(strict=False)
"""Models write line ends into texts as they are."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a model, as its server gave it."""

    text: str
    refusal: str | None = None
    """The model's words where it, or its server's filter, refuses."""
    ended_early: bool = False
    """True if the answer was cut at its limit of tokens."""
    too_long: bool = False
    """True if its server sent more than is read."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_completion(content: bytes) -> Completion:
    """The completion in a response's body. Raises Unusable where there is none."""
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        message = choice["message"]
        text, refusal = _text_of(message.get("content")), message.get("refusal")
        reason = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(f"the API's answer is malformed: {excerpt(content)}") from error
    if isinstance(refusal, str) and refusal.strip():
        refused: str | None = refusal
    else:
        refused = (text or "its server's content filter stopped it") if reason == "content_filter" else None
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text,
        refused,
        ended_early=reason == "length",
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _text_of(content: Any) -> str:
    """A message's content: a text, parts with texts, or nothing."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    if not isinstance(content, str):
        raise TypeError("a message's content is a text")
    return content


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def read_answer(fields: AnswerFields, text: str) -> dict[str, Any]:
    """The values in a model's words: of the first JSON object that has them, whatever stands round it.

    Raises ValueError that says what is missing.
    """
    # A model that reasons may write other objects first.
    text = text.rpartition("</think>")[2]
    fault = None
    for number, start in enumerate(re.finditer(r"\{", text)):
        if number == MAX_STARTS:
            break
        try:
            parsed, _ = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        try:
            return read_values(fields, parsed)
        except ValueError as error:
            fault = fault or error
    raise fault or ValueError("it holds no JSON object" if text.strip() else "it is empty")


def words_of(text: str) -> str:
    """A model's words in a message: on one line, and cut."""
    return shown(" ".join(text[:1000].split()))
