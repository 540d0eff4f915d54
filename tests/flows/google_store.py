"""Emulator of Google's object store for gcsfs, extended by the precondition that creates a lock.

The emulator ignores ifGenerationMatch (version 2026.7.19: both of two conditional puts succeeded). It serves one
request at a time, so that checking and putting are atomic here.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects


def start_store(port: int) -> server.Server:
    """Start the server."""
    for _, handlers in server.HANDLERS:
        if handlers.get("POST") is objects.insert:
            handlers["POST"] = _with_precondition(objects.insert)
    store = server.create_server("127.0.0.1", port, in_memory=True)
    store.start()
    return store


def make_bucket(store: server.Server, name: str) -> None:
    """Create an empty bucket."""
    buckets.create_bucket(name, store._storage)


def _with_precondition(insert: Callable[..., None]) -> Callable[..., None]:
    def checked(request: Any, response: Any, storage: Any) -> None:
        if request.query.get("ifGenerationMatch") == ["0"] and _exists(request, storage):
            response.status = HTTPStatus.PRECONDITION_FAILED
            response.json({"error": {"code": 412, "message": "At least one of the pre-conditions did not hold."}})
        else:
            insert(request, response, storage)

    return checked


def _exists(request: Any, storage: Any) -> bool:
    name = request.query["name"][0] if "name" in request.query else request.data["meta"]["name"]
    try:
        storage.get_file_obj(request.params["bucket_name"], name)
    except NotFound:
        return False
    return True
