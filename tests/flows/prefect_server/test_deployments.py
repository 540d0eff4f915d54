"""The deployments of prefect.yaml, and `imagemill setup-prefect`, on a real server."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import Ask, Run
from tests.conftest import ROOT, free_port, wait_until

PROJECT = ROOT
DEPLOYED = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]


@pytest.fixture(scope="session")
def deployed(server: str, ask: Ask) -> dict[str, dict[str, Any]]:
    """Deployments by name, made by setup-prefect on a server that already had a work pool and automations."""
    from imagemill.flows.prefect_server.setup import make_pool_and_automations, set_up

    list(make_pool_and_automations(runs_at_once=3, silent_seconds=30))
    set_up(runs_at_once=1, silent_seconds=90)
    return {deployment["name"]: deployment for deployment in ask("/deployments/filter", {})}


def test_setup_prefect_called_again_leaves_one_of_each(deployed: dict, ask: Ask):
    names = {"from-prompts", "text-to-image", "image-edit", "generate-and-edit", "nightly", "verify-weekly"}
    assert set(deployed) == names
    assert len(ask("/automations/filter", {})) == 4
    assert ask("/work_pools/gpu")["concurrency_limit"] == 1
    for name, strategy in (
        ("from-prompts", "ENQUEUE"),
        ("text-to-image", "ENQUEUE"),
        ("nightly", "CANCEL_NEW"),
        ("verify-weekly", "CANCEL_NEW"),
    ):
        deployment = deployed[name]
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == strategy
        assert deployment["tags"] == ["imagemill-verify" if name == "verify-weekly" else "imagemill-build"]
        assert deployment["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


def test_a_server_started_in_the_project_has_the_settings_for_crash_recovery(deployed: dict):
    from imagemill.flows.prefect_server.connection import missing_settings

    assert missing_settings(tomllib.loads((PROJECT / "prefect.toml").read_text())) == []
    other = {"server": {"events": {"messaging_broker": "another"}}}
    assert missing_settings(other) == ["PREFECT_SERVER_EVENTS_MESSAGING_BROKER=another"]


def test_a_deployed_schedule_creates_runs(deployed: dict, ask: Ask):
    """Guards against a server whose schedules silently do nothing, as with an unsupported SQLAlchemy."""
    nightly = {"deployments": {"id": {"any_": [deployed["nightly"]["id"]]}}}
    runs = wait_until(lambda: ask("/flow_runs/filter", nightly), "runs of the schedule")
    assert {run["state"]["type"] for run in runs} == {"SCHEDULED"}
    assert all(run["auto_scheduled"] for run in runs)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"prompts": "p.jsonl", "generate": {"steps": 0}}, "'recipe.generate.steps'. Failure reason: 0 is less than"),
        ({"template": {"values": {}}}, "'recipe.template'. Failure reason: 'text' is a required property"),
        ({"prompts": "p.jsonl", "image_format": "gif"}, "'recipe.image_format'. Failure reason: 'gif' is not one of"),
    ],
)
def test_a_bad_recipe_is_refused_by_the_server_with_the_fields_name(
    deployed: dict, ask: Ask, recipe: dict, expected: str
):
    body = {"parameters": {"recipe": recipe}}
    code, answer = ask(f"/deployments/{deployed['text-to-image']['id']}/create_flow_run", body)
    assert code == 409
    assert f"Validation failed for field {expected}" in answer["detail"]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("width", 100, "100 is not a multiple of 8"),
        ("candidates", 0, "0 is less than the minimum of 1"),
        ("seed", "x", "'x' is not valid"),
        ("instructions", "make it red", "'make it red' is not of type 'array'"),
    ],
)
def test_the_short_form_refuses_a_bad_value_with_the_fields_name(
    deployed: dict, ask: Ask, field: str, value: Any, expected: str
):
    body = {"parameters": {"prompts": "p.txt", field: value}}
    code, answer = ask(f"/deployments/{deployed['from-prompts']['id']}/create_flow_run", body)
    assert code == 409
    assert answer["detail"].startswith(f"Error creating flow run: Validation failed for field '{field}'")
    assert expected in answer["detail"]


def test_the_short_form_is_first_with_its_fields_in_the_order_of_use(deployed: dict):
    assert DEPLOYED[0]["name"] == min(deployed) == "from-prompts"
    properties = deployed["from-prompts"]["parameter_openapi_schema"]["properties"]
    first = ["prompts", "model", "width", "height", "images_per_prompt", "instructions", "seed", "candidates"]
    assert sorted(properties, key=lambda name: properties[name]["position"]) == [
        *first,
        "output",
        "recipe",
        "overrides",
    ]
    assert all(facts["title"] and facts["description"] for facts in properties.values())


def test_an_empty_number_of_the_short_form_is_a_plain_field_that_may_be_null(deployed: dict, ask: Ask):
    """Prefect's own schema of it is refused by Prefect, or has tabs (flows/prefect_server/form_defaults.py)."""
    schema = deployed["from-prompts"]["parameter_openapi_schema"]
    assert "required" not in schema
    assert {"type": "integer", "multipleOf": 8}.items() <= schema["properties"]["width"].items()
    body = {"parameters": {"prompts": "p.txt", "width": None}}
    run = ask(f"/deployments/{deployed['from-prompts']['id']}/create_flow_run", body)
    assert run["parameters"] == body["parameters"]


def test_the_form_has_a_title_and_a_help_text_for_every_field(deployed: dict):
    schema = deployed["text-to-image"]["parameter_openapi_schema"]
    assert schema["properties"]["recipe"]["anyOf"][0] == {"$ref": "#/definitions/Recipe"}
    assert all(parameter["description"] for parameter in schema["properties"].values())
    for name, section in schema["definitions"].items():
        for field, facts in section["properties"].items():
            assert "title" in facts or "$ref" in facts, f"{name}.{field}"
            assert facts.get("description"), f"{name}.{field}"
            assert "default" in facts or field in section.get("required", ()), f"{name}.{field} has no default"


def test_the_recipes_of_the_deployments_are_those_in_data_recipes():
    for deployment in DEPLOYED:
        recipe = deployment["parameters"].get("recipe")
        if isinstance(recipe, dict):
            assert recipe == yaml.safe_load((PROJECT / f"data/recipes/{deployment['name']}.yaml").read_text())


def test_an_unreachable_server_is_one_clear_message(imagemill: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    (tmp_path / "p.txt").write_text("a fox\n")
    arguments = ("build", "--prompts", tmp_path / "p.txt", "--output", tmp_path / "out", "--generate.model", "bundled")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        code, text = imagemill(*arguments)
    assert code == 1
    assert "no Prefect server answers at http://127.0.0.1:" in text
    assert "Traceback" not in text
