"""Small HTTP server with OpenAI's chat completions; a function answers, and single answers can be scripted.

It decodes the images that it is sent, and counts the requests of each question.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Asked:
    """One request."""

    body: dict[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @cached_property
    def system(self) -> str:
        return "".join(message["content"] for message in self.messages if message["role"] == "system")

    @cached_property
    def text(self) -> str:
        """The question, without the words that stand for a JSON schema."""
        content = self._question["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        return text.partition("\n\nAnswer with one JSON object")[0]

    @cached_property
    def images(self) -> tuple[Image.Image, ...]:
        content = self._question["content"]
        parts = [] if isinstance(content, str) else content
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        return tuple(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB") for url in urls)

    @property
    def is_correction(self) -> bool:
        """Whether it asks for an unreadable answer once more."""
        return any(message["role"] == "assistant" for message in self.messages)

    @property
    def by_schema(self) -> bool:
        return "response_format" in self.body

    @cached_property
    def question(self) -> str:
        """Equal for all requests of one question, whatever their form."""
        pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in self.images]
        settings = {name: self.body.get(name) for name in ("model", "temperature", "seed", "max_tokens")}
        return json.dumps([self.system, self.text, pixels, settings], sort_keys=True)

    @property
    def _question(self) -> dict[str, Any]:
        return next(message for message in self.messages if message["role"] == "user")


@dataclass(frozen=True)
class Http:
    """An answer as HTTP has it. ``missing``: how many bytes its length promises and its body lacks."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    missing: int = 0


Answer = dict[str, Any] | str | Http | None
"""The values of an answer's fields, the model's words, or HTTP; None: the connection is cut."""

Behaviour = Callable[["ChatServer", Asked], Answer]


class ChatServer:
    """Listens on the loopback interface. ``answer`` answers whatever ``script`` does not.

    ``script``: behaviours for the next requests, whichever they are. ``takes_schema``: whether it knows
    response_format, or answers 400 to it.
    """

    def __init__(self, answer: Callable[[Asked], Answer], key: str | None = None, takes_schema: bool = True) -> None:
        self.answer = answer
        self.key = key
        self.takes_schema = takes_schema
        self.script: deque[Behaviour] = deque()
        self.troubles: Callable[[Asked, int], Behaviour | None] = lambda asked, number: None
        """By request and how often its question was asked before: what goes wrong, if anything."""
        self.requests: list[Asked] = []
        self.asked: Counter[str] = Counter()
        """Question -> requests, but for those that a server without schemas refuses."""
        self.in_flight = self.max_in_flight = 0
        self.stopped = threading.Event()
        """Ends `hangs`."""
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def _reply_to(self, body: dict[str, Any], authorization: str | None) -> Http | None:
        asked = Asked(body)
        if self.key and authorization != f"Bearer {self.key}":
            return error(401, "Incorrect API key provided.")
        with self._lock:
            self.requests.append(asked)
            if not self.takes_schema and asked.by_schema:
                return error(400, "Unknown parameter: 'response_format'.", param="response_format")
            behaviour = self.script.popleft() if self.script else None
            behaviour = behaviour or self.troubles(asked, self.asked[asked.question])
            self.asked[asked.question] += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            answer = behaviour(self, asked) if behaviour else self.answer(asked)
        finally:
            with self._lock:
                self.in_flight -= 1
        return answer if answer is None or isinstance(answer, Http) else completion(answer)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path != "/v1/chat/completions":
                    return self._reply(Http(404, b"not found"))
                return self._reply(server._reply_to(json.loads(body), self.headers["authorization"]))

            def _reply(self, answer: Http | None) -> None:
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in (*answer.headers, ("content-length", str(len(answer.body) + answer.missing))):
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(answer.body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                if answer.missing:
                    self.close_connection = True

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        return Handler


def completion(answer: dict[str, Any] | str, reason: str = "stop", **message: Any) -> Http:
    """A completion with these values or words."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 100, "completion_tokens": max(1, len(text) // 4)}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}
    return Http(200, json.dumps(body).encode(), (("content-type", "application/json"),))


def error(status: int, message: str, headers: tuple[tuple[str, str], ...] = (), **more: Any) -> Http:
    return Http(status, json.dumps({"error": {"message": message, **more}}).encode(), headers)


def fails(status: int, message: str, headers: tuple[tuple[str, str], ...] = (), **more: Any) -> Behaviour:
    """Answers with an error."""
    return lambda server, asked: error(status, message, headers, **more)


def busy(retry_after: str = "0") -> Behaviour:
    """429 with Retry-After."""
    return fails(429, "slow down", (("retry-after", retry_after),))


def words(text: str) -> Behaviour:
    """Answers these words, which may be no JSON."""
    return lambda server, asked: text


def wrapped(before: str, after: str) -> Behaviour:
    """The right answer between words."""
    return lambda server, asked: f"{before}{json.dumps(server.answer(asked))}{after}"


def malformed(server: ChatServer, asked: Asked) -> str:
    """The right answer without its last half."""
    text = json.dumps(server.answer(asked))
    return text[: len(text) // 2]


def half(server: ChatServer, asked: Asked) -> Http:
    """The right response, cut in the middle of its body."""
    answer = server.answer(asked)
    whole = answer if isinstance(answer, Http) else completion(answer or "")
    kept = len(whole.body) // 2
    return Http(whole.status, whole.body[:kept], whole.headers, missing=len(whole.body) - kept)


def hangs(server: ChatServer, asked: Asked) -> None:
    """Answers nothing until the server stops."""
    server.stopped.wait(60)


def cuts(server: ChatServer, asked: Asked) -> None:
    """Cuts the connection without an answer."""


def refuses(server: ChatServer, asked: Asked) -> Http:
    """The model refuses, as OpenAI's models do."""
    return completion("", refusal="I can't help with that.")


def is_filtered(server: ChatServer, asked: Asked) -> Http:
    """The server's filter stops the answer."""
    return completion("", reason="content_filter")


def declines(server: ChatServer, asked: Asked) -> str:
    """The model refuses in words of its choice."""
    return "I'm sorry, but I can't judge images of people."


def huge(server: ChatServer, asked: Asked) -> str:
    """10 MB of words."""
    return json.dumps({"reason": "{" * 10_000_000})
