"""A server on the loopback that gcsfs takes for Google's: an emulator, taught the condition that a lock is made with.

The emulator does not know ifGenerationMatch (measured with version 2026.7.19: both of two conditional puts went
through). It answers one request after the other, so that looking and putting here are one.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects


def start_store(port: int) -> server.Server:
    """The server, which is up."""
    for _, handlers in server.HANDLERS:
        if handlers.get("POST") is objects.insert:
            handlers["POST"] = _on_condition(objects.insert)
    store = server.create_server("127.0.0.1", port, in_memory=True)
    store.start()
    return store


def make_bucket(store: server.Server, name: str) -> None:
    """A new, empty bucket."""
    buckets.create_bucket(name, store._storage)


def _on_condition(insert: Callable[..., None]) -> Callable[..., None]:
    def checked(request: Any, response: Any, storage: Any) -> None:
        if request.query.get("ifGenerationMatch") == ["0"] and _is_there(request, storage):
            response.status = HTTPStatus.PRECONDITION_FAILED
            response.json({"error": {"code": 412, "message": "At least one of the pre-conditions did not hold."}})
        else:
            insert(request, response, storage)

    return checked


def _is_there(request: Any, storage: Any) -> bool:
    name = request.query["name"][0] if "name" in request.query else request.data["meta"]["name"]
    try:
        storage.get_file_obj(request.params["bucket_name"], name)
    except NotFound:
        return False
    return True
