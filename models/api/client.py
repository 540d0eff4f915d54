"""Client of an OpenAI-compatible images API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from imagemill.data.config.api import Api
from imagemill.data.errors import one_line
from imagemill.data.messages import shown_path
from imagemill.data.storage.addresses import Reach
from imagemill.data.storage.connections import Refused
from imagemill.data.storage.web import Limits, Unreachable, WebClient
from imagemill.models.api.responses import MAX_BYTES, Unusable, read_capped, read_image
from imagemill.models.api.transport import Transport


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one image."""

    fields: Mapping[str, Any]
    source: bytes | None = None
    """For an edit: the image to edit, as PNG."""
    references: tuple[bytes, ...] = ()
    """Further images of the edit, as PNG."""


class ImagesApi:
    """One API, with at most ``api.concurrency`` requests in flight.

    ``key_from``: origin of its key, for messages. ``allow_hosts``: as in the recipe's images.allow_hosts.
    """

    def __init__(self, api: Api, key: str | None, key_from: str, allow_hosts: Iterable[str] = ()) -> None:
        self.api = api
        self._transport = Transport(api, key, key_from, "images API", "generates nothing")
        # An image's URL may belong to another server: the key is not sent there, and it must be a public one.
        self._images = WebClient(Reach(hosts=tuple(host.lower() for host in allow_hosts)))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
        self._images.close()

    async def generate(self, request: Request) -> tuple[bytes, int]:
        """The encoded image, and the number of requests.

        Raises ApiFault where this image fails, BuildFailed where every other would fail too; then no further request is
        made.
        """
        return await self._transport.request(lambda: self._send(request))

    async def _send(self, request: Request) -> bytes:
        async with self._open(request) as response:
            content = await read_capped(response)
        self._transport.check(response, content)
        address = read_image(content)
        if isinstance(address, bytes):
            return address
        limits = Limits(MAX_BYTES, read_s=self.api.timeout, total_s=self.api.timeout)
        try:
            answer = await asyncio.to_thread(self._images.get, address, limits)
        except (Unreachable, Refused) as error:
            raise Unusable(f"the image's URL {shown_path(address)} cannot be read: {one_line(error)}") from error
        if answer.status != 200:
            raise Unusable(f"the image's URL {shown_path(address)} answers {answer.status}")
        return answer.content

    def _open(self, request: Request) -> AbstractAsyncContextManager[httpx.Response]:
        if request.source is None:
            return self._transport.post("/images/generations", json=dict(request.fields))
        # A form's values are texts.
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in request.fields.items()}
        images = (request.source, *request.references)
        # OpenAI's name for a list of images is another one.
        name = "image[]" if request.references else "image"
        files = [(name, (f"image{number or ''}.png", content, "image/png")) for number, content in enumerate(images)]
        return self._transport.post("/images/edits", data=texts, files=files)
