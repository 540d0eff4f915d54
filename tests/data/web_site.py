"""A website of images on this machine, with pages that fail, stall, trickle or redirect."""

from __future__ import annotations

import io
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from PIL import Image


def png(colour: str) -> bytes:
    """A small image as PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(buffer, "PNG")
    return buffer.getvalue()


class Site:
    """A website of images: {path: responses in order, the last one repeated}; a response is a status or a body."""

    def __init__(self) -> None:
        self.pages: dict[str, list[int | bytes]] = {"/red.png": [png("red")], "/blue.png": [png("blue")]}
        self.redirects: dict[str, str] = {}
        self.encodings: dict[str, str] = {}
        self.stalls: set[str] = set()
        self.trickles: set[str] = set()
        """Pages whose headers never end: a byte now and then."""
        self.resume = Event()
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.retry_after = "0"
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return None

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                site.requests.append(path)
                site.headers.append({name.lower(): value for name, value in self.headers.items()})
                if path in site.stalls:
                    site.resume.wait(30)
                if path in site.trickles:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                    while not site.resume.wait(0.05):
                        self.wfile.write(b"x")
                    return
                responses = site.pages.get(path, [404])
                response = responses.pop(0) if len(responses) > 1 else responses[0]
                if path in site.redirects:
                    response = 302
                self.send_response(response if isinstance(response, int) else 200)
                if response == 302:
                    self.send_header("Location", site.redirects.get(path, "/red.png"))
                self.send_header("Retry-After", site.retry_after)
                if site.encodings.get(path):
                    self.send_header("Content-Encoding", site.encodings[path])
                self.end_headers()
                if isinstance(response, bytes):
                    self.wfile.write(response)

            def handle(self) -> None:
                # A client that ends a slow answer is what some tests are about.
                with suppress(ConnectionError):
                    super().handle()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume.set()
        self.server.shutdown()
        self.server.server_close()
