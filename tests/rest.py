"""Client of Prefect's REST API."""

from __future__ import annotations

from typing import Any

import urllib3

RETRIES = urllib3.Retry(
    20, connect=0, status_forcelist=[503], allowed_methods=None, backoff_factor=0.05, backoff_max=0.5
)
"""A server whose SQLite database is locked answers 503, which clients retry, like a missing answer."""


def ask(address: str, path: str, body: Any = None, password: str = "") -> tuple[int, Any]:
    """POST a body, or GET without one; returns status and answer. ``password``: user:password."""
    method = "GET" if body is None else "POST"
    headers = urllib3.make_headers(basic_auth=password) if password else {}
    answer = urllib3.request(method, f"{address}{path}", json=body, headers=headers, retries=RETRIES, timeout=120)
    return answer.status, answer.json() if answer.data else None
