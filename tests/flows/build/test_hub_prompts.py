"""Builds whose prompts are on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Build
from tests.data.dataset_hub import DatasetHub, Repository

NAME = "studio/animals"
FOX, KITE = b'{"prompt": "a fox"}\n', b'{"prompt": "a kite"}\n'


@pytest.mark.slow
def test_a_dataset_keeps_the_prompts_of_its_first_build_until_a_revision_is_named(
    build: Build, fields: dict[str, Any], dataset_hub: DatasetHub
):
    repository = dataset_hub.repositories[NAME] = Repository()
    repository.commit({"all.jsonl": FOX})
    first = repository.head
    del fields["edit"]
    fields["prompts"] = f"hf://datasets/{NAME}/all.jsonl"
    assert build(fields)["generated"] == 1
    manifest = json.loads((Path(fields["output"]) / "manifest.json").read_text())
    assert manifest["recipe"]["prompts"] == f"hf://datasets/{NAME}@{first}/all.jsonl"
    repository.commit({"all.jsonl": FOX + KITE})
    again = build(fields)
    assert (again["rows"], again["generated"]) == (1, 0)
    fields["prompts"] = f"hf://datasets/{NAME}@main/all.jsonl"
    grown = build(fields)
    assert (grown["rows"], grown["kept"], grown["generated"]) == (2, 1, 1)
