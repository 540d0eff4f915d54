"""Every recipe that a page shows is valid, and every `imagemill` command line that it shows has these options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.flows.cli.app import app
from imagemill.models.catalog.entries import read_catalog
from tests.conftest import ROOT

PAGES = sorted([*(ROOT / "docs/topics").glob("*.md"), *(ROOT / "docs/operations").glob("*.md")])

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ |srun )?imagemill (.+?)(?:\s+#.*|\s+&)?$", re.MULTILINE)

OTHER_FILES = ("apiVersion", "deployments", "distributed")
"""Keys of YAML files that are not imagemill's: Kubernetes, Prefect and Dask read them."""
SCORER = {"kind": "pixels", "measure": "sharpness"}
"""Stands for a scorer that a fragment names and another block of its page defines."""


def blocks(*languages: str) -> list[Any]:
    """The pages' blocks in these languages, each as a parameter."""
    parameters = []
    for page in PAGES:
        found = [text for language, text in BLOCK.findall(page.read_text()) if language in languages]
        name = page.relative_to(ROOT / "docs")
        parameters += [pytest.param(text, id=f"{name}, {number}") for number, text in enumerate(found, start=1)]
    return parameters


def commands() -> Iterator[Any]:
    for block in blocks("", "sh", "console"):
        for command in COMMAND.findall(block.values[0].replace("\\\n", "")):
            yield pytest.param(command, id=f"{block.id}: {command}")


def named_scorers(fields: Any) -> Iterator[str]:
    """The scorers that the `select` and `pairs` sections of a recipe name."""
    if isinstance(fields, list):
        for value in fields:
            yield from named_scorers(value)
    elif isinstance(fields, dict):
        for key, value in fields.items():
            if key == "select":
                yield from value.get("where", {})
                yield from [value["best"]] if "best" in value else []
            elif key == "pairs":
                yield value["by"]
            else:
                yield from named_scorers(value)


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe in which a fragment stands: with prompts, a model and scorers where it has none."""
    recipe = dict(fields)
    if not recipe.keys() & {"prompts", "template", "llm"}:
        recipe["prompts"] = "data/samples/edits.jsonl" if "edit" in recipe else "data/samples/prompts.jsonl"
    if not recipe.keys() & {"generate", "edit", "steps", "given"}:
        recipe["generate"] = {"model": "bundled"}
    if "scorers" not in recipe and (names := [*named_scorers(recipe)]):
        recipe["scorers"] = dict.fromkeys(names, SCORER)
    return recipe


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_recipe_that_a_page_shows_is_valid(text: str, tmp_path: Path):
    for fields in yaml.safe_load_all(text):
        if any(key in fields for key in OTHER_FILES):
            continue
        if "models" in fields:
            (tmp_path / "models.yaml").write_text(yaml.safe_dump(fields))
            assert read_catalog(str(tmp_path / "models.yaml"))
            continue
        assert fields.keys() <= Recipe.model_fields.keys()
        load_recipe(completed(fields))


@pytest.mark.parametrize("command", [*commands()])
def test_a_command_that_a_page_shows_has_these_options(command: str):
    app.parse_args(shlex.split(command), print_error=False, exit_on_error=False)


def test_a_fragment_with_an_unknown_field_is_no_recipe():
    with pytest.raises(Exception, match=r"generate\.shedule"):
        load_recipe(completed({"generate": {"model": "bundled", "shedule": "euler"}}))


def test_an_unknown_option_is_an_error():
    with pytest.raises(Exception, match="--redo"):
        app.parse_args(["build", "animals.yaml", "--redo"], print_error=False, exit_on_error=False)
