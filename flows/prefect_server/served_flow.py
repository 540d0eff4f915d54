"""Flows that can be called as functions without a server: they start the project's temporary one.

Prefect would start its own, which may be another user's (flows/prefect_server/temporary.py).
"""

from __future__ import annotations

from copy import copy
from typing import Any

import httpx
from prefect import Flow
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from imagemill.flows.prefect_server.temporary import (
    check_running,
    connection_settings,
    is_temporary,
    start_temporary_server,
)


class ServedFlow(Flow):
    """A flow with a server of this process, where none is configured."""

    def with_options(self, **options: Any) -> ServedFlow:
        """As Prefect's, which returns a plain Flow."""
        return served(super().with_options(**options))

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the flow. Raises ImagemillError if its temporary server does not start, or ends before the flow."""
        address = PREFECT_API_URL.value()
        # Within another flow, that flow's server is used.
        if FlowRunContext.get() is not None or (address and not is_temporary(address)):
            return super().__call__(*arguments, **options)
        start_temporary_server()
        try:
            # The caller may be in a settings context, which hides the global settings.
            with temporary_settings(connection_settings()):
                return super().__call__(*arguments, **options)
        except httpx.TransportError:
            check_running()
            raise


def served(flow: Flow) -> ServedFlow:
    """Make a flow start a temporary server when it is called as a function without one."""
    made = copy(flow)
    made.__class__ = ServedFlow
    return made
