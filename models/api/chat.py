"""Client of a chat API: OpenAI's chat completions, with images as data URLs and answers in JSON.

A question says in words what its answer holds, so that it is the same for every server. A server is sent a JSON schema
beside it; one that refuses that is sent none for the rest of the run, and others ignore it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from imagemill.data.config.words.answer_fields import AnswerFields, in_words, json_schema
from imagemill.data.config.words.chat_api import ChatApi
from imagemill.models.api.completions import MAX_BYTES, Completion, read_answer, read_completion, words_of
from imagemill.models.api.data_urls import data_url
from imagemill.models.api.responses import TooLong, explain, is_filtered, read_capped
from imagemill.models.api.transport import ApiFault, Transport

MAX_ANSWER_CHARS = 2000
"""Characters of the model's words that are stored beside the values."""

_SCHEMA_REFUSED = frozenset({400, 415, 422, 501})
"""Statuses by which servers refuse a field that they do not know."""

_SCHEMA_WORDS = ("response_format", "json_schema", "schema", "grammar", "structured", "guided")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """A question to a model."""

    model: str
    system: str
    text: str
    images: tuple[bytes, ...]
    """Encoded by models.api.data_urls."""
    fields: AnswerFields
    temperature: float | None = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question."""

    values: Mapping[str, Any] | None
    """Field -> value; None: a refusal, or unreadable after one re-ask."""
    fault: str | None
    """Then why, with the model's words cut."""
    text: str
    """The model's words, at most MAX_ANSWER_CHARS."""
    requests: int
    prompt_tokens: int
    completion_tokens: int


class _SchemaRefused(Exception):
    """The server may not know JSON schemas."""


@dataclass
class _Asked:
    """Use of a question so far."""

    before: Callable[[], None]
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def before_request(self) -> None:
        self.before()
        self.requests += 1

    def reply(self, values: Mapping[str, Any] | None, fault: str | None, text: str) -> Reply:
        words = text[:MAX_ANSWER_CHARS].encode("utf-8", "replace").decode()
        return Reply(values, fault, words, self.requests, self.prompt_tokens, self.completion_tokens)


class ChatClient:
    """One chat API, with at most ``api.concurrency`` requests in flight.

    ``key_from``: origin of its key, for messages.
    """

    def __init__(self, api: ChatApi, key: str | None, key_from: str) -> None:
        self.api = api
        self._transport = Transport(api, key, key_from, "chat API", "answers nothing")
        self._takes_schema: dict[str, bool] = {}
        """Model -> whether its server takes a JSON schema, once that is known."""
        self._first = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def ask(self, question: ChatQuestion, before_request: Callable[[], None]) -> Reply:
        """The model's answer; an unreadable one is requested once more, with its fault.

        ``before_request`` is called before each HTTP request, and may raise. Raises ApiFault where there is no answer
        to this question, BuildFailed where the API itself is at fault.
        """
        asked, why, text = _Asked(before_request), "", ""
        correction: list[Message] = []
        for _ in range(2):
            completion = await self._complete(question, correction, asked)
            text = completion.text
            asked.prompt_tokens += completion.prompt_tokens
            asked.completion_tokens += completion.completion_tokens
            if completion.refusal is not None:
                return asked.reply(None, f"the model refused: {words_of(completion.refusal)}", completion.refusal)
            try:
                return asked.reply(read_answer(question.fields, text), None, text)
            except ValueError as error:
                why = str(error)
            if completion.too_long:
                why = f"it has over {MAX_BYTES:,} bytes"
            elif completion.ended_early:
                why = f"it ends at the limit of its tokens (max_tokens), where {why}"
            correction = _correction(question, text, why)
        return asked.reply(None, f"the model's answer is unreadable, as {why}. Its answer: {words_of(text)}", text)

    async def _complete(self, question: ChatQuestion, correction: list[Message], asked: _Asked) -> Completion:
        """One completion; a malformed response is requested once more."""
        try:
            return await self._request(question, correction, asked)
        except ApiFault as fault:
            if not fault.may_pass:
                raise
        return await self._request(question, correction, asked)

    async def _request(self, question: ChatQuestion, correction: list[Message], asked: _Asked) -> Completion:
        known = self._takes_schema.get(question.model)
        if known is not None:
            return await self._with_schema_if_taken(question, correction, asked)
        # Whether the server takes a schema is found out by one question, while the others wait.
        async with self._first:
            if question.model not in self._takes_schema:
                return await self._with_schema_if_taken(question, correction, asked)
        return await self._with_schema_if_taken(question, correction, asked)

    async def _with_schema_if_taken(
        self, question: ChatQuestion, correction: list[Message], asked: _Asked
    ) -> Completion:
        if self._takes_schema.get(question.model, True):
            try:
                completion = await self._send(question, correction, asked, by_schema=True)
            except _SchemaRefused:
                pass
            else:
                self._takes_schema[question.model] = True
                return completion
        completion = await self._send(question, correction, asked, by_schema=False)
        # Only now: the first refusal may have been the question's.
        self._takes_schema[question.model] = False
        return completion

    async def _send(
        self, question: ChatQuestion, correction: list[Message], asked: _Asked, by_schema: bool
    ) -> Completion:
        body = _body(question, correction, by_schema)

        async def send() -> Completion:
            async with self._transport.post("/chat/completions", json=body) as response:
                try:
                    content = await read_capped(response, MAX_BYTES)
                except TooLong:
                    return Completion("", too_long=True)
            if by_schema and self._refuses_schema(question.model, response, content):
                raise _SchemaRefused
            if response.status_code in (400, 403) and is_filtered(content):
                return Completion("", self._transport.without_key(explain(content)))
            self._transport.check(response, content)
            return read_completion(content)

        completion, _ = await self._transport.request(send, asked.before_request)
        return completion

    def _refuses_schema(self, model: str, response: httpx.Response, content: bytes) -> bool:
        if response.status_code not in _SCHEMA_REFUSED or is_filtered(content):
            return False
        words = explain(content).lower()
        return model not in self._takes_schema or any(word in words for word in _SCHEMA_WORDS)


def _body(question: ChatQuestion, correction: list[Message], by_schema: bool) -> dict[str, Any]:
    """A request's body. System text and question come first, images last: servers cache what messages begin with."""
    text = f"{question.text}\n\n{in_words(question.fields)}"
    urls = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in question.images]
    content: Any = [{"type": "text", "text": text}, *urls] if urls else text
    system = [{"role": "system", "content": question.system}] if question.system else []
    schema = {"name": "answer", "strict": True, "schema": json_schema(question.fields)}
    settings = {
        "model": question.model,
        "messages": [*system, {"role": "user", "content": content}, *correction],
        "temperature": question.temperature,
        "seed": question.seed,
        "max_tokens": question.max_tokens,
        "response_format": {"type": "json_schema", "json_schema": schema} if by_schema else None,
    }
    return {**{name: value for name, value in settings.items() if value is not None}, **question.extra}


def _correction(question: ChatQuestion, text: str, why: str) -> list[Message]:
    """The messages that follow an unreadable answer."""
    said = text[:MAX_ANSWER_CHARS].strip() or "(nothing)"
    request = f"That answer cannot be read: {why}. {in_words(question.fields)}"
    return [{"role": "assistant", "content": said}, {"role": "user", "content": request}]
