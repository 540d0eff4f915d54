"""Fields of a form that may stay empty: numbers without a tab that switches between a number and nothing.

Prefect makes a form of a flow's signature. An optional number becomes a field with tabs, `int` and `None`. A number
whose default is None gets a plain field, but its schema names the default null, which the schema itself then refuses:
the form cannot be submitted. Without a default in the schema the field is plain, optional and may be empty or null.

Upstream: https://github.com/PrefectHQ/prefect/blob/3.9.1/src/prefect/utilities/schema_tools/validation.py, where null
is allowed only for a property without a default.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

from prefect import Flow
from pydantic_core import MISSING

FlowT = TypeVar("FlowT", bound=Flow)


def without_null_defaults(flow: FlowT) -> FlowT:
    """Let the form of this flow's deployments name no default where the function's is None.

    Deployments are made from the flow's signature, and calls are bound to the function's, which stays as it is.
    """
    signature = inspect.signature(flow.fn, eval_str=True)
    parameters = [
        parameter.replace(default=MISSING) if parameter.default is None else parameter
        for parameter in signature.parameters.values()
    ]
    flow.__signature__ = signature.replace(parameters=parameters)
    return flow
