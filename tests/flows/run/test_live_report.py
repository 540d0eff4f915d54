"""The report and the log of a build that is running."""

from __future__ import annotations

import re
from typing import Any

from tests.conftest import wait_until
from tests.flows.run.conftest import InTheMiddle
from tests.tasks.machine import Machine


def test_a_running_builds_report_says_when_it_ends(
    machine: Machine, recipe: dict[str, Any], in_the_middle: InTheMiddle
):
    with in_the_middle(recipe) as run:
        of_run = {"flow_runs": {"id": {"any_": [run]}}}

        def report() -> str:
            artifacts = machine.ask("/artifacts/filter", of_run)
            text = next((artifact["data"] for artifact in artifacts if artifact["key"] == "small-report"), "")
            return text if "## Workers" in text and "left, ends about" in text else ""

        text = wait_until(report, "a report with workers and an end")
        assert re.search(r"\*\*Running, \d+% of the images, about .* left, ends about [-0-9]+ [:0-9]+ \S+\.\*\*", text)
    machine.wait_for(run, "Completed")
    assert "**Complete: 16 rows, 0 set aside.**" in machine.ask("/artifacts/filter", of_run)[0]["data"]
