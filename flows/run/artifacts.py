"""Artifacts of a run on the Prefect server, each one updated in place. An unreachable server stops no build."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client


class Artifacts:
    """The artifacts of one dataset's build; their keys are the same in every build, so that their versions line up."""

    def __init__(self, dataset: str, log: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._key = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
        self._log = log
        self._written: dict[str, Any] = {}
        self._ids: dict[str, UUID] = {}

    def put(
        self, name: str, data: Any, news: Any, create: Callable[[str], UUID], description: str | None = None
    ) -> None:
        """Write an artifact if ``news`` has changed.

        ``create`` makes it, empty: Prefect stores what it is created with in an event too. So does its client's method
        that updates one, with all its data, of which a contact sheet is the most: hence the plain request.
        """
        if self._written.get(name) == news:
            return
        try:
            if name not in self._ids:
                self._ids[name] = create(f"{self._key}-{name}")
            body = {"data": json.dumps(data) if isinstance(data, list) else data}
            body |= {"description": description} if description else {}
            with get_client(sync_client=True) as client:
                client.request("PATCH", "/artifacts/{id}", path_params={"id": self._ids[name]}, json=body)
            self._written[name] = news
        except Exception as error:  # noqa: BLE001 - an unreachable server raises many types, and none stops a build
            self._log.warning("The dashboard is out of date: %s: %s", type(error).__name__, error)
