"""Names, tags, artifacts and events of a build on a real Prefect server."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect import flow, task

from imagemill.data.dataset.sheet.contact_sheet import shrink_sheet
from imagemill.data.errors import InputError, RecipeError
from imagemill.flows.run.dashboard import update_interval
from tests.commands import Ask
from tests.conftest import Build, small_fields, wait_until, write_prompts


@pytest.fixture(scope="module")
def recorded(build: Build, ask: Ask, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The server's records of the second build of a dataset whose prompts have a bad line."""
    fields = small_fields(tmp_path_factory.mktemp("recorded"), model) | {"name": "Winter.animals", "max_set_aside": 1}
    prompts = Path(fields["prompts"])
    build(fields)
    write_prompts(prompts, ["a fox", "a kite", "a ring", "a star", "a bird", "a house", {"prompt": ""}])
    log, said = logging.getLogger("prefect.flow_runs"), logging.Handler()
    lines: list[str] = []
    said.emit = lambda record: lines.append(record.getMessage())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "handlers", [said])
        patch.setattr(log, "level", logging.INFO)
        figures = build(fields)
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
        "figures": figures,
        "log": lines,
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

    # Prefect asks the server for a slot before each task with a tag.
    assert [task["tags"] for task in wait_until(tasks, f"the task runs {names}")] == [[]] * len(names)


def test_report_log_and_runs_jsonl_have_the_same_figures(recorded: dict):
    figures = json.loads((Path(recorded["output"]) / "runs.jsonl").read_text().splitlines()[-1])
    assert figures == recorded["figures"]
    speed, idle = f"{figures['images_per_second']:.2f}", f"{figures['device_idle']:.1%}"
    # Its seconds are rounded too.
    assert figures["images_per_second"] == pytest.approx(figures["generated"] / figures["seconds"], rel=0.05)
    text = recorded["artifacts"]["winter-animals-report"]["data"]
    assert f"| images/s | {speed} |" in text
    assert f"| device idle | {idle} |" in text
    last = [line for line in recorded["log"] if re.match(r"\d+ of \d+ images", line)][-1]
    assert last == f"4 of 4 images, {speed} images/s, device idle {idle}, 1 set aside."


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
    server: str,
    ask: Ask,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    recipe: dict[str, Any],
    error: str,
    kind: type[Exception],
):
    from imagemill.flows.build_dataset import build_dataset

    with pytest.raises(kind):
        build_dataset(recipe | {"output": str(tmp_path / "out"), "prompts": str(tmp_path / recipe["prompts"])})
    tagged = {"flow_runs": {"tags": {"all_": [f"dataset:{recipe['name']}"]}}}
    (run,) = ask("/flow_runs/filter", tagged)
    assert run["name"].startswith(recipe["name"])
    assert run["state"]["message"].startswith(error)
    assert run["state"]["message"].split(": ", 1)[1] in caplog.text
    assert "Traceback" not in caplog.text


def test_the_report_ends_with_the_dataset_s_location_and_the_contact_sheet(recorded: dict):
    text = recorded["artifacts"]["winter-animals-report"]["data"]
    assert "**Complete: 6 rows, 1 set aside.**" in text
    assert "| rows | 6 in the prompts; 4 finished before, 0 to be removed |" in text
    assert "| generated | 4 |" in text
    assert f'data_files="{recorded["output"]}/data/train-*.parquet"' in text
    image = base64.b64decode(re.search(r"\(data:image/webp;base64,([^)]+)\)", text)[1])
    assert Image.open(io.BytesIO(image)).format == "WEBP"
    assert len(image) <= 20_000


def test_the_report_has_the_last_runs_figures_beside_its_own_and_a_line_for_each_worker(recorded: dict):
    text = recorded["artifacts"]["winter-animals-report"]["data"]
    assert re.search(r"^\| \| this run \| last run<br>\d{4}-\d\d-\d\d<br>\d\d:\d\d, complete \|$", text, re.MULTILINE)
    assert "| generated | 4 | 8 |" in text
    assert "| set aside | 1 | 0 |" in text
    workers = [line for line in text.partition("## Workers")[2].splitlines() if "| cpu |" in line]
    assert sum(int(line.split(" | ")[2]) for line in workers) == 4


def test_a_build_has_a_report_and_a_table_of_the_rows_set_aside(recorded: dict):
    artifacts = recorded["artifacts"]
    assert set(artifacts) == {"winter-animals-report", "winter-animals-set-aside"}
    (bad,) = json.loads(artifacts["winter-animals-set-aside"]["data"])
    assert (bad["line"], bad["step"]) == (7, "load")


def test_no_event_carries_an_artifact(recorded: dict, ask: Ask):
    """Each version of a report would be stored again, with its contact sheet."""
    events = {"filter": {"event": {"prefix": ["prefect.artifact"]}}}
    found = ask("/events/filter", events)["events"]
    assert {event["event"] for event in found} >= {"prefect.artifact.created", "prefect.artifact-collection.created"}
    assert not [event for event in found if len(json.dumps(event["payload"])) > 500]


def test_states_of_steps_are_not_stored_as_events_too(recorded: dict, ask: Ask):
    """They are three quarters of a build's events, and the task runs' pages show the states themselves."""
    of_run = [f"prefect.flow-run.{recorded['run']['id']}"]
    ours = {"filter": {"event": {"prefix": ["prefect."]}, "related": {"id": of_run}}}
    assert not [event for event in ask("/events/filter", ours)["events"] if "task-run" in event["event"]]

    @task
    def step() -> None: ...

    @flow(name="someone else's")
    def another() -> None:
        step()

    another()
    states = {"filter": {"event": {"prefix": ["prefect.task-run."]}}}

    def stored() -> set[str]:
        found = ask("/events/filter", states)["events"]
        return {
            related["prefect.resource.name"]
            for event in found
            for related in event["related"]
            if "prefect.resource.name" in related
        }

    wait_until(lambda: "someone else's" in stored(), "the states of another flow's step")


def test_updates_become_rarer():
    assert [update_interval(seconds) for seconds in (0, 59, 61, 599, 601, 100_000)] == [5, 5, 30, 30, 60, 60]


def test_a_build_emits_events(recorded: dict):
    payloads = {event["event"]: event["payload"] for event in recorded["events"]}
    assert set(payloads) == {"imagemill.shard.committed", "imagemill.row.set_aside", "imagemill.build.finished"}
    assert payloads["imagemill.build.finished"]["status"] == "complete"
    shard = payloads["imagemill.shard.committed"]
    assert (shard["shard"], shard["rows"], shard["images"]) == ("1/1", 2, 4)
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
    assert Image.open(io.BytesIO(small)).format == "WEBP"
