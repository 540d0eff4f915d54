"""Flow run of a short form: its name, and the parameters that its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from imagemill.flows.form.short_form import ShortForm
from imagemill.flows.run.run_name import name_of


def short_run_name() -> str:
    """``winter-animals, run 12``, as of every build (flows.run.run_name)."""
    return name_of(ShortForm(**flow_run.parameters).load)


def keep_parameters(given: Mapping[str, Any]) -> None:
    """Keep only these of the current flow run's parameters: a form sends every field, also those left empty."""
    if given != flow_run.parameters:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(str(flow_run.id)), parameters=dict(given))
