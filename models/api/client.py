"""An OpenAI-compatible images API: a request is made, and made again where that can help.

Everything here runs in one event loop. What concerns all rows alike is BuildFailed; what concerns one is ApiFault.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from imagemill.data.config.api import Api
from imagemill.data.errors import BuildFailed
from imagemill.models.api.responses import (
    Unusable,
    explain,
    field_at_fault,
    is_out_of_money,
    read_capped,
    read_image,
    wait_asked,
)

FIRST_RETRY_DELAY_S = 0.5
"""Seconds before a request is made a second time, where the API does not say; doubled each time."""

MAX_RETRY_DELAY_S = 60.0
"""Seconds between two tries, where the API does not say."""

MAX_RETRY_AFTER_S = 3600.0
"""The longest Retry-After, in seconds, that is waited for."""

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 529})
_SYSTEMATIC = {
    401: "does not accept the key",
    402: "wants to be paid first",
    403: "does not allow this",
    404: "knows no such model, or no such address",
    405: "takes no such request at this address",
    501: "cannot do this",
}


class ApiFault(Exception):
    """One image could not be had, for the reason given. ``may_pass``: asking once more could give another answer."""

    def __init__(self, reason: str, requests: int, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.requests = requests
        self.may_pass = may_pass


class _Again(Exception):
    """No answer this time."""

    def __init__(self, reason: str, wait: float | None = None, is_systematic: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_systematic = is_systematic


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: one image."""

    fields: Mapping[str, Any]
    source: bytes | None = None
    """For an edit: the image to edit, as PNG."""


class ImagesApi:
    """One API, asked for at most ``api.concurrency`` images at once. ``key_from`` says where its key came from."""

    def __init__(self, api: Api, key: str | None, key_from: str) -> None:
        self.api = api
        self.key_from = key_from
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=api.concurrency)
        # No timeout of httpx: what counts is the whole answer's time.
        self._http = httpx.AsyncClient(headers=headers, timeout=None, limits=limits)
        # An image's own address may be somebody else's: the key does not go there.
        self._images = httpx.AsyncClient(timeout=None, follow_redirects=True)
        self._places = asyncio.Semaphore(api.concurrency)
        self._not_before = 0.0
        self._ended: BuildFailed | None = None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._images.aclose()

    async def draw(self, request: Request) -> tuple[bytes, int]:
        """The encoded image, and how many requests it took.

        Raises ApiFault where this image cannot be had, BuildFailed where no other would fare better; then nothing is
        asked for any more.
        """
        try:
            return await self._draw(request)
        except BuildFailed as error:
            self._ended = self._ended or error
            raise

    async def _draw(self, request: Request) -> tuple[bytes, int]:
        requests = 0
        while True:
            async with self._places:
                await self._wait_for_turn()
                if self._ended:
                    raise BuildFailed(str(self._ended))
                requests += 1
                try:
                    async with asyncio.timeout(self.api.timeout):
                        return await self._ask(request), requests
                except Unusable as error:
                    raise ApiFault(str(error), requests, may_pass=True) from error
                except TimeoutError:
                    trouble = _Again(f"the API did not answer within {self.api.timeout:g} s")
                except _Again as again:
                    trouble = again
                except ApiFault as fault:
                    fault.requests = requests
                    raise
            if requests > self.api.retries:
                told = f"{trouble} ({requests} requests)"
                raise BuildFailed(self._systematic(told)) if trouble.is_systematic else ApiFault(told, requests)
            if trouble.wait is None:
                own = min(MAX_RETRY_DELAY_S, FIRST_RETRY_DELAY_S * 2 ** (requests - 1))
                await asyncio.sleep(own * random.uniform(0.75, 1.25))
            else:
                self._not_before = max(self._not_before, self._now() + trouble.wait)

    async def _wait_for_turn(self) -> None:
        """An API that asks for patience asks it of all."""
        while (left := self._not_before - self._now()) > 0:
            await asyncio.sleep(left)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _ask(self, request: Request) -> bytes:
        try:
            async with self._send(request) as response:
                content = await read_capped(response)
        except httpx.ConnectError as error:
            raise _Again(f"nobody answers there ({error})", is_systematic=True) from error
        except httpx.TransportError as error:
            raise _Again(f"the connection to the API was lost ({type(error).__name__}: {error})") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise BuildFailed(self._systematic(f"it cannot be asked: {error}")) from error
        if response.status_code >= 300:
            self._refuse(response, content)
        address = read_image(content)
        if isinstance(address, bytes):
            return address
        try:
            async with self._images.stream("GET", address) as response:
                content = await read_capped(response)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unusable(f"the image's address {address[:200]!r} cannot be read: {error}") from error
        if response.status_code != 200:
            raise Unusable(f"the image's address {address[:200]!r} answers {response.status_code}")
        return content

    def _send(self, request: Request) -> Any:
        if request.source is None:
            return self._http.stream("POST", f"{self.api.base_url}/images/generations", json=dict(request.fields))
        # A form has texts only.
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in request.fields.items()}
        files = {"image": ("image.png", request.source, "image/png")}
        return self._http.stream("POST", f"{self.api.base_url}/images/edits", data=texts, files=files)

    def _refuse(self, response: httpx.Response, content: bytes) -> None:
        """Raise what an answer other than an image means."""
        status, said = response.status_code, explain(content)
        told = f"{status} {response.reason_phrase}: {said}"
        if status == 429 and is_out_of_money(content):
            raise BuildFailed(self._systematic(f"it wants to be paid first. It says: {told}"))
        if status in _TRANSIENT:
            wait = wait_asked(response.headers.get("retry-after"))
            if wait is not None and wait > MAX_RETRY_AFTER_S:
                raise BuildFailed(self._systematic(f"it asks to come back in {wait:.0f} s. It says: {told}"))
            raise _Again(f"the API answered {told}", wait, is_systematic=status == 429)
        if status in _SYSTEMATIC:
            key = f" (its key is {self.key_from})" if status in (401, 403) else ""
            raise BuildFailed(self._systematic(f"it {_SYSTEMATIC[status]}{key}. It says: {told}"))
        if status < 400:
            to = response.headers.get("location", "elsewhere")
            raise BuildFailed(self._systematic(f"it sends to {to}: give that as base_url. It says: {told}"))
        if field := field_at_fault(content):
            hint = "set api.send_seed to false" if field == "seed" else "change or leave out that setting"
            raise BuildFailed(self._systematic(f"it does not take the field {field!r}: {hint}. It says: {told}"))
        raise ApiFault(f"the API refused: {told}", 1)

    def _systematic(self, what: str) -> str:
        return f"the images API at {self.api.base_url} generates nothing: {what} What is generated is kept."
