"""A build on Prefect's dashboard: names, tags, artifacts and events, as a real server has them."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.dataset.contact_sheet import shrink_sheet
from tests.commands import Ask
from tests.conftest import Build, small_fields, wait_until, write_prompts


@pytest.fixture(scope="module")
def shown(build: Build, ask: Ask, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the server has of the second build of a dataset, whose prompts have a bad line."""
    fields = small_fields(tmp_path_factory.mktemp("shown"), model) | {"name": "Winter.animals", "max_set_aside": 1}
    prompts = Path(fields["prompts"])
    build(fields)
    write_prompts(prompts, ["a fox", "a kite", "a ring", "a star", "a bird", "a house", {"prompt": ""}])
    build(fields)
    asked = {"flow_runs": {"name": {"any_": ["Winter.animals, run 2"]}}}
    run = ask("/flow_runs/filter", asked)[0]
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    keyed = [one for one in ask("/artifacts/filter", of_run) if one["key"]]
    assert len({one["key"] for one in keyed}) == len(keyed)
    events = {"filter": {"event": {"prefix": ["imagemill."]}, "related": {"id": [f"prefect.flow-run.{run['id']}"]}}}
    finished = "imagemill.build.finished"
    wait_until(lambda: finished in [one["event"] for one in ask("/events/filter", events)["events"]], finished)
    return {
        "run": run,
        "artifacts": {one["key"]: one for one in keyed},
        "events": ask("/events/filter", events)["events"],
        "output": fields["output"],
        "of_run": of_run,
    }


def test_runs_are_named_and_tagged_for_a_person(shown: dict, ask: Ask, model: Path):
    assert {"dataset:Winter.animals", f"model:{model}"} <= set(shown["run"]["tags"])
    wanted = {"generate 1/1", "edit 1/1", "write 1/1", "publish Winter.animals"}

    def tasks() -> list[dict[str, Any]]:
        found = [one for one in ask("/task_runs/filter", shown["of_run"]) if one["name"] in wanted]
        return found if len(found) == len(wanted) else []

    for one in wait_until(tasks, f"the task runs {wanted}"):
        assert "dataset:Winter.animals" in one["tags"]


def test_the_report_ends_with_the_contact_sheet_and_where_the_dataset_is(shown: dict):
    text = shown["artifacts"]["winter-animals-report"]["data"]
    assert "**Complete: 6 rows, 1 set aside.**" in text
    assert "| rows | 6 in the prompts; 4 finished before, 0 to be removed |" in text
    assert "| generated | 4 |" in text
    assert f'data_files="{shown["output"]}/data/train-*.parquet"' in text
    image = re.search(r"\(data:image/jpeg;base64,([^)]+)\)", text)[1]
    assert Image.open(io.BytesIO(base64.b64decode(image))).format == "JPEG"


def test_progress_and_tables_are_those_of_the_build(shown: dict):
    artifacts = shown["artifacts"]
    assert artifacts["winter-animals-progress"]["data"] == 100
    (bad,) = json.loads(artifacts["winter-animals-set-aside"]["data"])
    assert (bad["line"], bad["step"]) == (7, "load")
    (shard,) = json.loads(artifacts["winter-animals-shards"]["data"])
    assert (shard["shard"], shard["rows"], shard["images"]) == ("1/1", 2, 4)
    assert shown["output"] in artifacts["winter-animals-dataset"]["data"]


def test_a_build_tells_of_itself_in_events(shown: dict):
    payloads = {one["event"]: one["payload"] for one in shown["events"]}
    assert set(payloads) == {"imagemill.shard.committed", "imagemill.row.set_aside", "imagemill.build.finished"}
    assert payloads["imagemill.build.finished"]["status"] == "complete"
    assert payloads["imagemill.row.set_aside"]["line"] == 7
    assert {one["resource"]["prefect.resource.id"] for one in shown["events"]} == {"imagemill.dataset.Winter.animals"}


def test_a_large_contact_sheet_is_made_to_fit_the_report():
    noise, buffer = Image.effect_noise((800, 800), 200).convert("RGB"), io.BytesIO()
    noise.save(buffer, "JPEG", quality=95)
    assert len(buffer.getvalue()) > 300_000
    small = shrink_sheet(buffer.getvalue(), 100_000)
    assert len(small) <= 100_000
    assert Image.open(io.BytesIO(small)).format == "JPEG"
