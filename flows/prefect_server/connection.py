"""Connection to the configured Prefect server, checked with one clear message before a flow needs it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from prefect.settings import PREFECT_API_URL, get_current_settings

from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server.home_check import check_home
from imagemill.flows.prefect_server.temporary import begin_temporary_server, is_temporary, start_temporary_server

SERVER_TIMEOUT_S = 10.0
"""Seconds within which a server must answer."""


def find_server(needed: bool = False) -> None:
    """Check the server of PREFECT_API_URL or the active profile. Raises ImagemillError if it cannot be used.

    If none is configured, a temporary one is started for this process; with ``needed``, that is an error.
    """
    if _is_unset():
        if needed:
            raise ImagemillError(
                "no Prefect server is configured: start one (`prefect server start`) and set "
                "PREFECT_API_URL=http://127.0.0.1:4200/api, or log in to Prefect Cloud (`prefect cloud login`)."
            )
        check_home()
        start_temporary_server()
        return
    address = PREFECT_API_URL.value()
    headers = {"Content-Type": "application/json", **_authorization()}
    try:
        # This route needs authorization, unlike /health, and Prefect Cloud has it too.
        request = urllib.request.Request(f"{address.rstrip('/')}/flows/count", b"{}", headers)
        urllib.request.urlopen(request, timeout=SERVER_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise ImagemillError(
                f"the Prefect server at {address} denies access (HTTP {error.code}): set "
                "PREFECT_API_AUTH_STRING=user:password as on the server, or PREFECT_API_KEY for Prefect Cloud."
            ) from error
        raise ImagemillError(f"no working Prefect server answers at {address} (HTTP {error.code}).") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise ImagemillError(
            f"no Prefect server answers at {address} ({why}). Start it (`prefect server start`), correct "
            "PREFECT_API_URL, or unset it: a build then starts a temporary server."
        ) from error


def start_server_early() -> None:
    """Begin to start the temporary server that ``find_server`` then waits for; nothing if a server is configured.

    Raises ImagemillError if Prefect's folder cannot be written.
    """
    if _is_unset():
        check_home()
        begin_temporary_server()


def missing_settings(required: dict[str, Any]) -> list[str]:
    """The settings (nested, as in a prefect.toml) that the server lacks, as NAME=VALUE for its environment.

    Those outside ``server`` are for flows.
    Empty for Prefect Cloud, whose settings are fixed. Raises OSError if no server answers.
    """
    request = urllib.request.Request(f"{PREFECT_API_URL.value().rstrip('/')}/admin/settings", headers=_authorization())
    try:
        with urllib.request.urlopen(request, timeout=SERVER_TIMEOUT_S) as response:
            present = json.load(response)
    except urllib.error.HTTPError:
        return []
    return [f"{name}={value}" for name, value in _differing("PREFECT_SERVER", required["server"], present["server"])]


def _is_unset() -> bool:
    address = PREFECT_API_URL.value()
    return not address or is_temporary(address)


def _differing(name: str, required: dict[str, Any], present: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in required.items():
        if isinstance(value, dict):
            yield from _differing(f"{name}_{key.upper()}", value, present.get(key, {}))
        elif present.get(key) != value:
            yield f"{name}_{key.upper()}", value


def _authorization() -> dict[str, str]:
    api = get_current_settings().api
    if api.auth_string:
        return {"Authorization": f"Basic {base64.b64encode(api.auth_string.get_secret_value().encode()).decode()}"}
    if api.key:
        return {"Authorization": f"Bearer {api.key.get_secret_value()}"}
    return {}
