"""Small HTTP server with an OpenAI-compatible images API; its answers can be scripted, and are right by default."""

from __future__ import annotations

import base64
import io
import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""

Behaviour = Callable[["ImagesServer", dict[str, Any]], Answer | None]
"""Makes the answer to a request's fields; None: the connection is cut."""


class ImagesServer:
    """Listens on the loopback interface. ``answers``: prompt -> its next answers; after them, images."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key
        self.answers: dict[str, list[Behaviour]] = defaultdict(list)
        self.always: Behaviour | None = None
        self.requests: list[dict[str, Any]] = []
        self.in_flight = self.max_in_flight = 0
        self.stopped = threading.Event()
        """Ends `hangs`."""
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [fields["prompt"] for fields in self.requests]

    @contextmanager
    def running(self) -> Iterator[ImagesServer]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            self._http.shutdown()
            self._http.server_close()
            thread.join()

    def _answer(self, fields: dict[str, Any], authorization: str | None) -> Answer | None:
        if self.key and authorization != f"Bearer {self.key}":
            return refusal(401, "Incorrect API key provided.")
        with self._lock:
            self.requests.append(fields)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            answers = self.answers[fields["prompt"]]
            behaviour = answers.pop(0) if answers else self.always or right
        try:
            return behaviour(self, fields)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path not in ("/v1/images/generations", "/v1/images/edits"):
                    return self._reply((404, {}, b"not found"))
                fields = _form(self.headers["content-type"], body) if "edits" in self.path else json.loads(body)
                return self._reply(server._answer(fields, self.headers["authorization"]))

            def do_GET(self) -> None:
                # An image's URL may belong to another server: it gets no key.
                assert self.headers["authorization"] is None
                self._reply((200, {"content-type": "image/png"}, image(json.loads(_unhex(self.path)))))

            def _reply(self, answer: Answer | None) -> None:
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        return Handler


def _form(content_type: str, body: bytes) -> dict[str, Any]:
    parts = BytesParser(policy=HTTP).parsebytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, Any] = {}
    for part in parts.iter_parts():
        content = part.get_payload(decode=True)
        is_file = part.get_filename() is not None
        name = str(part.get_param("name", header="content-disposition"))
        if name.endswith("[]"):
            fields.setdefault(name, []).append(content)
        else:
            fields[name] = content if is_file else content.decode()
    return fields


def _unhex(path: str) -> bytes:
    return bytes.fromhex(path.rpartition("/")[2])


def image(fields: dict[str, Any]) -> bytes:
    """A PNG of the requested size (64 x 64 by default), its pixels from prompt, seed and source."""
    width, height = (int(side) for side in fields.get("size", "64x64").split("x"))
    pixels = random.Random(f"{fields['prompt']} {fields.get('seed')} {fields.get('image')}").randbytes(12)
    small = Image.frombytes("RGB", (2, 2), pixels)
    buffer = io.BytesIO()
    small.resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def answer(item: Any) -> Answer:
    return 200, {"content-type": "application/json"}, json.dumps({"created": 1, "data": [item]}).encode()


def right(server: ImagesServer, fields: dict[str, Any]) -> Answer:
    return answer({"b64_json": base64.b64encode(image(fields)).decode()})


def by_url(server: ImagesServer, fields: dict[str, Any]) -> Answer:
    return answer({"url": f"{server.address}/{json.dumps(fields).encode().hex()}"})


def refusal(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    return status, headers or {}, json.dumps({"error": {"message": message, **more}}).encode()


def says(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Behaviour:
    """Answers with an error."""
    return lambda server, fields: refusal(status, message, headers, **more)


def hangs(server: ImagesServer, fields: dict[str, Any]) -> None:
    server.stopped.wait(60)


def cuts(server: ImagesServer, fields: dict[str, Any]) -> None:
    """Cuts the connection without an answer."""


def body(content: bytes) -> Behaviour:
    """Answers 200 with this body."""
    return lambda server, fields: (200, {}, content)


def no_image(server: ImagesServer, fields: dict[str, Any]) -> Answer:
    return answer({"b64_json": base64.b64encode(b"<html>no</html>").decode()})


def wrong_size(server: ImagesServer, fields: dict[str, Any]) -> Answer:
    return right(server, {**fields, "size": "32x32"})
