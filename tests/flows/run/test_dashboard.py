"""Names, tags, artifacts and events of a build on a real Prefect server."""

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
from imagemill.data.errors import InputError, RecipeError
from tests.commands import Ask
from tests.conftest import Build, small_fields, wait_until, write_prompts


@pytest.fixture(scope="module")
def recorded(build: Build, ask: Ask, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The server's records of the second build of a dataset whose prompts have a bad line."""
    fields = small_fields(tmp_path_factory.mktemp("recorded"), model) | {"name": "Winter.animals", "max_set_aside": 1}
    prompts = Path(fields["prompts"])
    build(fields)
    write_prompts(prompts, ["a fox", "a kite", "a ring", "a star", "a bird", "a house", {"prompt": ""}])
    build(fields)
    by_name = {"flow_runs": {"name": {"any_": ["Winter.animals, run 2"]}}}
    run = ask("/flow_runs/filter", by_name)[0]
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    artifacts = [artifact for artifact in ask("/artifacts/filter", of_run) if artifact["key"]]
    assert len({artifact["key"] for artifact in artifacts}) == len(artifacts)
    events = {"filter": {"event": {"prefix": ["imagemill."]}, "related": {"id": [f"prefect.flow-run.{run['id']}"]}}}
    finished = "imagemill.build.finished"
    wait_until(lambda: finished in [event["event"] for event in ask("/events/filter", events)["events"]], finished)
    return {
        "run": run,
        "artifacts": {artifact["key"]: artifact for artifact in artifacts},
        "events": ask("/events/filter", events)["events"],
        "output": fields["output"],
        "of_run": of_run,
    }


def test_runs_have_readable_names_and_tags(recorded: dict, ask: Ask, model: Path):
    assert {"dataset:Winter.animals", f"model:{model}"} <= set(recorded["run"]["tags"])
    names = {"generate 1/1", "edit 1/1", "write 1/1", "publish Winter.animals"}

    def tasks() -> list[dict[str, Any]]:
        found = [task for task in ask("/task_runs/filter", recorded["of_run"]) if task["name"] in names]
        return found if len(found) == len(names) else []

    for task in wait_until(tasks, f"the task runs {names}"):
        assert "dataset:Winter.animals" in task["tags"]


def test_a_finished_run_says_in_its_state_how_it_ended(recorded: dict):
    assert re.fullmatch(r"6 rows, 1 set aside, \d+\.\d\d images/s, \d+ s", recorded["run"]["state"]["message"])


@pytest.mark.parametrize(
    ("recipe", "error", "kind"),
    [
        ({"name": "empty-one", "prompts": "p.jsonl"}, "RecipeError: recipe: nothing to generate", RecipeError),
        (
            {"name": "no-such-model", "prompts": "p.jsonl", "generate": {"model": "none-such"}},
            "UnknownModel: ",
            RecipeError,
        ),
        ({"name": "no-prompts", "prompts": "none.jsonl", "generate": {"model": "bundled"}}, "InputError: ", InputError),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_run_that_fails_has_its_datasets_name_and_tag_and_one_sentence_for_a_log(
    server: str, ask: Ask, tmp_path: Path, recipe: dict[str, Any], error: str, kind: type[Exception]
):
    from imagemill.flows.build_dataset import build_dataset

    with pytest.raises(kind):
        build_dataset(recipe | {"output": str(tmp_path / "out"), "prompts": str(tmp_path / recipe["prompts"])})
    tagged = {"flow_runs": {"tags": {"all_": [f"dataset:{recipe['name']}"]}}}
    (run,) = ask("/flow_runs/filter", tagged)
    assert run["name"].startswith(recipe["name"])
    assert run["state"]["message"].startswith(error)
    logs = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
    sentence = run["state"]["message"]
    lines = wait_until(
        lambda: [log["message"] for log in ask("/logs/filter", logs) if sentence in log["message"]], "its log"
    )
    assert not any("Traceback" in line for line in lines)


def test_the_report_ends_with_the_dataset_s_location_and_the_contact_sheet(recorded: dict):
    text = recorded["artifacts"]["winter-animals-report"]["data"]
    assert "**Complete: 6 rows, 1 set aside.**" in text
    assert "| rows | 6 in the prompts; 4 finished before, 0 to be removed |" in text
    assert "| generated | 4 |" in text
    assert f'data_files="{recorded["output"]}/data/train-*.parquet"' in text
    image = re.search(r"\(data:image/jpeg;base64,([^)]+)\)", text)[1]
    assert Image.open(io.BytesIO(base64.b64decode(image))).format == "JPEG"


def test_progress_and_tables_match_the_build(recorded: dict):
    artifacts = recorded["artifacts"]
    assert artifacts["winter-animals-progress"]["data"] == 100
    (bad,) = json.loads(artifacts["winter-animals-set-aside"]["data"])
    assert (bad["line"], bad["step"]) == (7, "load")
    (shard,) = json.loads(artifacts["winter-animals-shards"]["data"])
    assert (shard["shard"], shard["rows"], shard["images"]) == ("1/1", 2, 4)
    assert recorded["output"] in artifacts["winter-animals-dataset"]["data"]


def test_a_build_emits_events(recorded: dict):
    payloads = {event["event"]: event["payload"] for event in recorded["events"]}
    assert set(payloads) == {"imagemill.shard.committed", "imagemill.row.set_aside", "imagemill.build.finished"}
    assert payloads["imagemill.build.finished"]["status"] == "complete"
    assert payloads["imagemill.row.set_aside"]["line"] == 7
    assert {event["resource"]["prefect.resource.id"] for event in recorded["events"]} == {
        "imagemill.dataset.Winter.animals"
    }


def test_a_large_contact_sheet_is_shrunk_to_fit_the_report():
    noise, buffer = Image.effect_noise((800, 800), 200).convert("RGB"), io.BytesIO()
    noise.save(buffer, "JPEG", quality=95)
    assert len(buffer.getvalue()) > 300_000
    small = shrink_sheet(buffer.getvalue(), 100_000)
    assert len(small) <= 100_000
    assert Image.open(io.BytesIO(small)).format == "JPEG"
