"""A build says how many prompts their model could not read in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Build, write_prompts


def test_a_build_warns_once_of_prompts_that_are_cut_and_records_how_many(
    build: Build, fields: dict, caplog: pytest.LogCaptureFixture
):
    write_prompts(Path(fields["prompts"]), ["a fox", "a fox " * 600, "a kite", "a kite " * 600])
    with caplog.at_level("WARNING"):
        assert build(fields, {"edit": None})["prompts_truncated"] == 2
    told = [record.getMessage() for record in caplog.records if "text encoders" in record.getMessage()]
    assert [line.split(" of the prompts")[0] for line in told] == ["2"]
    build(fields, {"edit": None})
    runs = (Path(fields["output"]) / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line).get("prompts_truncated") for line in runs] == [2, None]
