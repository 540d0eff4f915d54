"""The Prefect server that is named, if one is: whether it can be used, told in one message where it cannot."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from prefect.settings import PREFECT_API_URL, get_current_settings

from imagemill.data.errors import ImagemillError

SECONDS = 10
"""How long a server may take to answer."""


def find_server(needed: bool = False) -> None:
    """Raises ImagemillError where PREFECT_API_URL, or the active profile, names a server that cannot be used.

    Where none is named, one of Prefect's own is started for the time of this process; ``needed``: that is an error.
    """
    address = PREFECT_API_URL.value()
    if not address:
        if needed:
            raise ImagemillError(
                "no Prefect server is named: start one (`prefect server start`) and set "
                "PREFECT_API_URL=http://127.0.0.1:4200/api, or log in to Prefect Cloud (`prefect cloud login`)."
            )
        from imagemill.flows.prefect_server.temporary import start_temporary_server

        start_temporary_server()
        return
    headers = {"Content-Type": "application/json", **_authorization()}
    try:
        # What needs an authorization, unlike /health; and what Prefect Cloud answers too.
        asked = urllib.request.Request(f"{address.rstrip('/')}/flows/count", b"{}", headers)
        urllib.request.urlopen(asked, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise ImagemillError(
                f"the Prefect server at {address} refuses to be used (HTTP {error.code}): set "
                "PREFECT_API_AUTH_STRING=user:password as the server has it, or PREFECT_API_KEY for Prefect Cloud."
            ) from error
        raise ImagemillError(f"what answers at {address} is no working Prefect server (HTTP {error.code}).") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise ImagemillError(
            f"no Prefect server answers at {address} ({why}). Start it (`prefect server start`), correct "
            "PREFECT_API_URL, or unset it: a build then uses a server of its own."
        ) from error


def missing_settings(wanted: dict[str, Any]) -> list[str]:
    """The settings (nested, as in a prefect.toml) that the server has otherwise, each as NAME=VALUE of the environment.

    Nothing for Prefect Cloud, whose settings are its own. Raises OSError where no server answers.
    """
    asked = urllib.request.Request(f"{PREFECT_API_URL.value().rstrip('/')}/admin/settings", headers=_authorization())
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            has = json.load(answer)
    except urllib.error.HTTPError:
        return []
    return [f"{name}={value}" for name, value in _differing("PREFECT", wanted, has)]


def _differing(name: str, wanted: dict[str, Any], has: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in wanted.items():
        if isinstance(value, dict):
            yield from _differing(f"{name}_{key.upper()}", value, has.get(key, {}))
        elif has.get(key) != value:
            yield f"{name}_{key.upper()}", value


def _authorization() -> dict[str, str]:
    api = get_current_settings().api
    if api.auth_string:
        return {"Authorization": f"Basic {base64.b64encode(api.auth_string.get_secret_value().encode()).decode()}"}
    if api.key:
        return {"Authorization": f"Bearer {api.key.get_secret_value()}"}
    return {}
