"""Truncated prompts are counted by the build and flagged in their rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import Report
from tests.conftest import Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of

LONG = "a fox " * 600


def test_a_build_warns_once_of_truncated_prompts_and_its_rows_flag_them(
    build: Build, fields: dict, caplog: pytest.LogCaptureFixture, report: Report
):
    write_prompts(Path(fields["prompts"]), ["a fox", LONG, "a kite", "a kite " * 600])
    with caplog.at_level("WARNING"):
        assert build(fields, {"edit": None})["prompts_truncated"] == 2
    warnings = [record.getMessage() for record in caplog.records if "text encoders" in record.getMessage()]
    assert [line.split(" of the generated prompts")[0] for line in warnings] == ["2"]
    build(fields, {"edit": None})
    runs = (Path(fields["output"]) / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line).get("prompts_truncated") for line in runs] == [2, None]
    assert [row["prompt_truncated"] for row in rows_of(fields["output"])] == [False, True, False, True]
    assert report("verify", fields["output"])[0] == 0


def test_prompts_and_instructions_have_separate_flags_also_for_restored_images(build: Build, fields: dict):
    write_prompts(Path(fields["prompts"]), ["a fox", LONG])
    build(fields)
    # The images of both prompts are restored from the dataset, to be edited by the second instruction.
    figures = build(fields, {"edit.instructions": ["make it red", LONG]})
    assert (figures["generated"], figures["reused"]) == (2, 2)
    flags = {
        (row["prompt"] == "a fox", row["edit_prompt"] == "make it red"): (
            row["prompt_truncated"],
            row["edit_prompt_truncated"],
        )
        for row in rows_of(fields["output"])
    }
    assert flags == {
        (True, True): (False, False),
        (True, False): (False, True),
        (False, True): (True, False),
        (False, False): (True, True),
    }


def test_a_dataset_without_the_column_keeps_its_rows_as_they_are(build: Build, fields: dict):
    build(fields, {"edit": None, "prompt_truncated": False})
    about = Path(fields["output"]) / ".imagemill" / "folder.json"
    before = [path.read_bytes() for path in (Path(fields["output"]) / "data").iterdir()]
    # As an older version left it.
    content = json.loads(about.read_text())
    content["pinned"].pop("prompt_truncated", None)
    about.write_text(json.dumps(content))
    assert build(fields, {"edit": None})["planned"] == 0
    assert [path.read_bytes() for path in (Path(fields["output"]) / "data").iterdir()] == before
    assert build(fields, {"edit": None, "prompt_truncated": True})["generated"] == 0
    assert [row["prompt_truncated"] for row in rows_of(fields["output"])] == [None] * 4
