"""Requests to an OpenAI-compatible API: retries, Retry-After, back-off, and one failure for all.

Runs in one event loop. An error that concerns all requests is BuildFailed, one that concerns a single one is ApiFault.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import httpx

from imagemill.data.config.server_api import ServerApi
from imagemill.data.errors import BuildFailed, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.origins import origin_of
from imagemill.models.api.responses import Unusable, explain, field_at_fault, is_out_of_money, retry_after_s

FIRST_RETRY_DELAY_S = 0.5
"""Wait before the first retry, if the API names none; doubled each time."""

MAX_RETRY_DELAY_S = 60.0
"""Longest wait before a retry, if the API names none."""

MAX_RETRY_AFTER_S = 3600.0
"""Longest Retry-After that is obeyed; a longer one fails the build."""

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 529})
_SYSTEMATIC = {
    401: "does not accept the key",
    402: "requires payment",
    403: "does not allow this",
    404: "has no such model, or no such address",
    405: "takes no such request at this address",
    501: "does not support this",
}

Result = TypeVar("Result")


class ApiFault(Exception):
    """One request failed, for the reason given. ``may_pass``: another one could succeed."""

    def __init__(self, reason: str, requests: int, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.requests = requests
        self.may_pass = may_pass


class _Retry(Exception):
    """A request failed in a way that a retry may help."""

    def __init__(self, reason: str, wait: float | None = None, is_systematic: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_systematic = is_systematic


def _no_check() -> None:
    """Nothing to do before a request."""


class Transport:
    """Connections to one API, with at most ``api.concurrency`` requests in flight.

    ``key_from``: origin of its key, for messages. ``fails``: what the API does not do where it is at fault, for
    messages, as in "the images API at ... generates nothing".
    """

    def __init__(self, api: ServerApi, key: str | None, key_from: str, kind: str, fails: str) -> None:
        self.api = api
        self._key_from = key_from
        self._kind, self._fails = kind, fails
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=api.concurrency)
        # Without httpx's timeouts: api.timeout limits the whole response.
        # A redirect is never followed: its target would get the prompts, and, on the same host, the key.
        self._http = httpx.AsyncClient(headers=headers, timeout=None, limits=limits, follow_redirects=False)
        if key:
            self._check_origin()
        self._key = key
        self._in_flight = asyncio.Semaphore(api.concurrency)
        self._not_before = 0.0
        self._failed: BuildFailed | None = None

    def _check_origin(self) -> None:
        """Raise BuildFailed if the client would go elsewhere than the address that was checked says."""
        url = httpx.URL(self.api.base_url)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        host = f"[{url.host}]" if ":" in url.host else url.host
        if origin_of(f"{url.scheme}://{host}:{port}") != origin_of(self.api.base_url):
            raise BuildFailed(self._systematic("its address has more than one reading, so it gets no key."))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self, send: Callable[[], Awaitable[Result]], before_request: Callable[[], None] = _no_check
    ) -> tuple[Result, int]:
        """The result of ``send``, which makes one request, and the number of requests.

        ``before_request`` is called before each, and may raise. Raises ApiFault where this request fails, BuildFailed
        where every other would fail too; then no further request is made.
        """
        try:
            return await self._request(send, before_request)
        except BuildFailed as error:
            self._failed = self._failed or error
            raise

    async def _request(
        self, send: Callable[[], Awaitable[Result]], before_request: Callable[[], None]
    ) -> tuple[Result, int]:
        requests = 0
        while True:
            async with self._in_flight:
                await self._wait_for_turn()
                if self._failed:
                    raise BuildFailed(str(self._failed))
                before_request()
                requests += 1
                try:
                    async with asyncio.timeout(self.api.timeout):
                        return await send(), requests
                except Unusable as error:
                    raise ApiFault(self.without_key(str(error)), requests, may_pass=True) from error
                except TimeoutError:
                    failure = _Retry(f"the API did not answer within {self.api.timeout:g} s")
                except _Retry as error:
                    failure = error
                except ApiFault as fault:
                    fault.requests = requests
                    raise
            if requests > self.api.retries:
                reason = f"{failure} ({requests} requests)"
                raise BuildFailed(self._systematic(reason)) if failure.is_systematic else ApiFault(reason, requests)
            if failure.wait is None:
                interval = min(MAX_RETRY_DELAY_S, FIRST_RETRY_DELAY_S * 2 ** (requests - 1))
                await asyncio.sleep(interval * random.uniform(0.75, 1.25))
            else:
                self._not_before = max(self._not_before, self._now() + failure.wait)

    async def _wait_for_turn(self) -> None:
        """Wait for the API's Retry-After, which applies to all requests."""
        while (left := self._not_before - self._now()) > 0:
            await asyncio.sleep(left)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def post(self, path: str, **body: Any) -> AbstractAsyncContextManager[httpx.Response]:
        """The response to a POST, to be read inside ``send``. ``body``: as httpx takes it."""
        return self._post(path, body)

    @asynccontextmanager
    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            async with self._http.stream("POST", f"{self.api.base_url}{path}", **body) as response:
                yield response
        except httpx.ConnectError as error:
            raise _Retry(f"no server answers there ({one_line(error)})", is_systematic=True) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Retry(f"the connection to the API was lost ({type(error).__name__}: {one_line(error)})") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise BuildFailed(self._systematic(f"its address is not valid: {one_line(error)}")) from error

    def check(self, response: httpx.Response, content: bytes) -> None:
        """Raise the error that a response other than a success means."""
        status = response.status_code
        if status < 300:
            return
        answer = self.without_key(f"{status} {response.reason_phrase}: {explain(content)}")
        if status == 429 and is_out_of_money(content):
            raise BuildFailed(self._systematic(f"it requires payment. Its answer: {answer}"))
        if status in _TRANSIENT:
            wait = retry_after_s(response.headers.get("retry-after"))
            if wait is not None and wait > MAX_RETRY_AFTER_S:
                raise BuildFailed(self._systematic(f"it asks to retry after {wait:.0f} s. Its answer: {answer}"))
            raise _Retry(f"the API answered {answer}", wait, is_systematic=status == 429)
        if status in _SYSTEMATIC:
            key = f" (its key is {self._key_from})" if status in (401, 403) else ""
            raise BuildFailed(self._systematic(f"it {_SYSTEMATIC[status]}{key}. Its answer: {answer}"))
        if status < 400:
            to = response.headers.get("location", "elsewhere")
            raise BuildFailed(
                self._systematic(f"it redirects to {shown_path(to)}: give that as base_url. Its answer: {answer}")
            )
        if field := field_at_fault(content):
            hint = "set api.send_seed to false" if field == "seed" else "change or leave out that setting"
            raise BuildFailed(
                self._systematic(f"it does not take the field {shown(field)}: {hint}. Its answer: {answer}")
            )
        raise ApiFault(f"the API refused: {answer}", 1)

    def without_key(self, text: str) -> str:
        """The text of an answer; a server may repeat the key that it refuses."""
        return text.replace(self._key, "...") if self._key and len(self._key) >= 8 else text

    def _systematic(self, reason: str) -> str:
        return f"the {self._kind} at {self.api.base_url} {self._fails}: {reason} Finished images are kept."
