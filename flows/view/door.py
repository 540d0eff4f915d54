"""Door of the gallery: which requests are answered. A pure ASGI middleware around its pages.

A request must name this machine as its host, so that no web page whose name was pointed at this machine reads an
answer, and must have the cookie, which the link in the terminal is exchanged for, so that no other user of the machine
does. Nothing but GET and HEAD is answered.
"""

from __future__ import annotations

import secrets
from threading import Lock

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = frozenset(["127.0.0.1", "localhost", "[::1]"])
"""Hosts that a request may name, with any port: a tunnel may have another one."""

OPEN = "/open/"
"""Path of the link in the terminal, before the token."""

MAX_LINKS = 8
"""Links that are open at once; another closes the oldest."""

HEADERS = {
    # Nothing of another origin is loaded, and no script but the gallery's own runs, whatever is in a row.
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    # No page of another origin, even on this machine, may embed an image or hold a window of the gallery.
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every answer."""

_CLOSED = (
    "This gallery needs the link that `imagemill view` prints in its terminal. Each link works once: press Enter there "
    "for another. If you have just opened the link, reload this page.\n"
)


class Door:
    """Answers requests with the cookie by ``app``, and refuses the others."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        # Cookies are sent to every port of a host, so that two galleries need two names.
        self._cookie = f"imagemill-view-{port}"
        self._session = secrets.token_urlsafe(32)
        self._tokens: list[str] = []
        self._lock = Lock()

    def new_token(self) -> str:
        """A token that opens the gallery once."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens = [*self._tokens, token][-MAX_LINKS:]
        return token

    def _use(self, token: str) -> bool:
        with self._lock:
            for known in self._tokens:
                if secrets.compare_digest(known.encode(), token.encode()):
                    self._tokens.remove(known)
                    return True
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websocket is accepted; a server without a lifespan needs no answer.
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host", "").rpartition(":")[0] not in HOSTS and headers.get("host") not in HOSTS:
            return PlainTextResponse("The gallery is at 127.0.0.1 or localhost.\n", 421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("The gallery is read only.\n", 405, {"allow": "GET, HEAD"})
        if scope["path"].startswith(OPEN) and scope["method"] == "GET":
            if not self._use(scope["path"].removeprefix(OPEN)):
                return PlainTextResponse(_CLOSED, 403)
            response = RedirectResponse("/", 303)
            response.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
            return response
        cookie = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        if not secrets.compare_digest(cookie.encode(), self._session.encode()):
            return PlainTextResponse(_CLOSED, 403)
        return None
