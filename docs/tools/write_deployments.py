"""Generator of docs/reference/deployments.md from prefect.yaml and flows: `make docs`. With --check, only compares."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import yaml
from generated import plain, table, write_or_compare
from prefect import Flow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/deployments.md"

HEAD = """# Deployments

`imagemill setup-prefect` creates these deployments on the server that `PREFECT_API_URL` names, with their work pool and
the automations that restart crashed builds. `make docs` generates this page from `prefect.yaml` and from the flows'
signatures. Start a run in the dashboard ([dashboard.md](../operations/dashboard.md)), by its schedule, from Python or
HTTP ([api.md](../operations/api.md)), or in a terminal with the command that each section has. A worker runs it:
`prefect worker start --pool gpu`. To add a deployment, see [deploy.md](../operations/deploy.md).
"""

EXAMPLES = {
    "from-prompts": "-p prompts=data/samples/prompts.jsonl -p images_per_prompt=4 --watch",
    "text-to-image": "-p recipe=data/recipes/text-to-image.yaml",
    "image-edit": "-p recipe=data/recipes/image-edit.yaml",
    "generate-and-edit": "-p overrides='{\"generate.seed\": 7}'",
    "nightly": "-p retry_set_aside=true",
    "verify-weekly": "-p output=out/demo -p regenerate=8",
}
"""Parameters of the command in each section."""

KINDS = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`", "object": "mapping"}

COLLISIONS = {
    "ENQUEUE": "A second run waits until the first has ended.",
    "CANCEL_NEW": "A second run is cancelled while one is running.",
}
"""Effect of a concurrency limit of 1, by its strategy."""


def page() -> str:
    """The page's text."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    flows = {deployment["entrypoint"]: _flow(deployment["entrypoint"]) for deployment in deployments}
    rows = [_overview(deployment, flows[deployment["entrypoint"]]) for deployment in deployments]
    overview = table(["deployment", "purpose", "schedule"], rows)
    sections = [_deployment(deployment, flows[deployment["entrypoint"]]) for deployment in deployments]
    sections += [_parameters(entrypoint, flow) for entrypoint, flow in flows.items()]
    return "\n".join([HEAD, overview, "", *sections])


def _flow(entrypoint: str) -> Flow[Any, Any]:
    path, _, name = entrypoint.partition(":")
    return getattr(importlib.import_module("imagemill." + path.removesuffix(".py").replace("/", ".")), name)


def _overview(deployment: dict[str, Any], flow: Flow[Any, Any]) -> list[str]:
    name = f"{flow.name}/{deployment['name']}"
    return [f"[{name}](#{_anchor(name)})", deployment["description"], _schedule(deployment) or "none"]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _schedule(deployment: dict[str, Any]) -> str:
    found = [
        f"`{schedule['cron']}` ({schedule['timezone']})" for schedule in deployment["schedules"] if schedule["active"]
    ]
    return ", ".join(found)


def _deployment(deployment: dict[str, Any], flow: Flow[Any, Any]) -> str:
    name = f"{flow.name}/{deployment['name']}"
    limit = deployment["concurrency_limit"]
    parameters = yaml.safe_dump(deployment["parameters"], sort_keys=False, width=100)
    heading = f"The flow {flow.name}"
    facts = [
        ["flow", f"[{flow.name}](#{_anchor(heading)}), `{deployment['entrypoint']}`"],
        ["schedule", _schedule(deployment) or "none"],
        ["work pool", f"`{deployment['work_pool']['name']}`"],
        ["tags", ", ".join(f"`{tag}`" for tag in deployment["tags"])],
        ["concurrent runs", f"{limit['limit']}. {COLLISIONS[limit['collision_strategy']]}"],
    ]
    run = f"prefect deployment run {name}"
    options = [EXAMPLES[deployment["name"]]] if deployment["name"] in EXAMPLES else []
    given = ""
    if deployment["parameters"]:
        options.insert(0, "--watch")
        given = f"Parameters, unless a run sets others:\n\n```yaml\n{parameters}```\n\n"
    commands = "\n".join(["```", *(f"{run} {more}" for more in options), "```", ""])
    return "\n".join([f"## {name}", "", deployment["description"], "", table(["", ""], facts), "", given + commands])


def _parameters(entrypoint: str, flow: Flow[Any, Any]) -> str:
    schema = flow.parameters.model_dump()
    rows = [
        [f"`{name}`", _kind(field), _default(name, field, schema["required"]), _meaning(field)]
        for name, field in schema["properties"].items()
    ]
    about = plain(flow.description.split("\n\nArgs:")[0].replace("``", "`"))
    heading = ["parameter", "type", "default", "meaning"]
    return "\n".join([f"## The flow {flow.name}", "", f"`{entrypoint}`. {about}", "", table(heading, rows), ""])


def _meaning(field: dict[str, Any]) -> str:
    return plain(" ".join(field["description"].split()))


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(choice) for choice in field["anyOf"])
    if "$ref" in field:
        return f"[{field['$ref'].rsplit('/', 1)[1].lower()}](recipe.md)"
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}s"
    kind = KINDS[field["type"]]
    if "minimum" in field:
        most = field.get("maximum")
        kind += f", at least {field['minimum']}" if most is None else f", {field['minimum']} to {most}"
    return kind + (f", multiple of {field['multipleOf']}" if "multipleOf" in field else "")


def _default(name: str, field: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "**required**"
    return "empty" if field["default"] in (None, "", [], {}) else f"`{json.dumps(field['default'])}`"


if __name__ == "__main__":
    write_or_compare(PAGE, page())
