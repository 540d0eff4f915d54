"""Builds of the short form, started as a user starts them, on a real server with a real worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset

from tests.tasks.machine import PROJECT, Machine


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("short") / "foxes.txt"
    path.write_text("a fox\na kite\n")
    return path


def run_deployment(machine: Machine, **parameters: str) -> subprocess.CompletedProcess[str]:
    """`prefect deployment run build-images/from-prompts -p NAME=VALUE ... --watch`."""
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "prefect", "deployment", "run", "build-images/from-prompts", *given, "--watch"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "check": False}
    return subprocess.run(command, cwd=PROJECT, env=machine.environment, **options)


def last_run(machine: Machine) -> dict[str, Any]:
    named = {"deployments": {"name": {"any_": ["from-prompts"]}}}
    return machine.ask("/flow_runs/filter", {**named, "sort": "EXPECTED_START_TIME_DESC", "limit": 1})[0]


def test_a_deployment_run_builds_what_its_few_fields_say(machine: Machine, prompts: Path, model: Path):
    output = prompts.with_name("out")
    fields = {"prompts": str(prompts), "model": str(model), "output": str(output), "width": "64", "height": "32"}
    done = run_deployment(machine, **fields, instructions='["make it red"]', overrides='{"generate.steps": 1}')
    assert done.returncode == 0, done.stdout + done.stderr
    # --watch prints the log too, which has the progress.
    assert "2 rows: 0 finished already" in " ".join(done.stdout.split())
    rows = load_dataset("parquet", data_files=f"{output}/data/train-*.parquet", split="train")
    assert [row["prompt"] for row in rows] == ["a fox", "a kite"]
    assert {(row["input_image"].size, row["edit_prompt"], row["steps"]) for row in rows} == {
        ((64, 32), "make it red", 1)
    }
    run = last_run(machine)
    assert run["name"] == "out, run 1"
    assert {"dataset:out", f"model:{model}"} <= set(run["tags"])
    numbers = {"width": 64, "height": 32, "instructions": ["make it red"], "overrides": {"generate.steps": 1}}
    assert run["parameters"] == fields | numbers
    # States of its steps are stored as states alone.
    steps = {"event": {"prefix": ["prefect.task-run."]}, "related": {"id": [f"prefect.flow-run.{run['id']}"]}}
    assert machine.ask("/events/filter", {"filter": steps})["events"] == []
    # One run of one flow, and not a second one within it.
    assert machine.ask("/flow_runs/count", {"flow_runs": {"name": {"any_": ["out, run 1"]}}}) == 1


def test_a_run_of_the_form_keeps_only_the_fields_that_were_filled(machine: Machine, prompts: Path):
    """As the dashboards send it: with everything that was left empty."""
    given = {"prompts": str(prompts), "output": str(prompts.with_name("form")), "candidates": 2}
    given |= {"instructions": ["turn it blue"]}
    empty = {"model": "", "width": None, "height": None, "seed": None, "recipe": "", "overrides": {}}
    path = f"/deployments/{machine.deployment('from-prompts')}/create_flow_run"
    run = machine.ask(path, {"parameters": given | empty})["id"]
    machine.wait_for(run, "Completed")
    assert machine.ask(f"/flow_runs/{run}")["parameters"] == given
    figures = json.loads(prompts.with_name("form").joinpath("runs.jsonl").read_text())
    # Two candidates of each prompt, and an edit of the better one.
    assert (figures["status"], figures["rows"], figures["generated"]) == ("complete", 2, 6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "none-such"}, "UnknownModel: model is 'none-such'"),
        ({"candidates": "2", "images_per_prompt": "3"}, "RecipeError: candidates is 2 and images_per_prompt is 3"),
    ],
    ids=str,
)
def test_a_run_that_fails_says_so_in_the_forms_words(
    machine: Machine, prompts: Path, fields: dict[str, str], message: str
):
    assert run_deployment(machine, prompts=str(prompts), **fields).returncode == 1
    run = last_run(machine)
    assert (run["state"]["type"], run["name"].partition(",")[0]) == ("FAILED", "foxes")
    assert run["state"]["message"].startswith(message)
    assert "dataset:foxes" in run["tags"]
