"""`imagemill models pull` of scorers and heads: only what they are loaded from, and complete without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from imagemill.models.catalog.entries import read_catalog
from tests.commands import Run
from tests.models.download.test_pull import Machine
from tests.models.hub_stand_in import COMMIT, REPOSITORY, Hub
from tests.models.tiny.scorers import head, save_scorer

pytestmark = pytest.mark.slow

UNNEEDED = ["pytorch_model.bin", "flax_model.msgpack", "README.md", "onnx/model.onnx", "model.fp16.safetensors"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub whose repository is a CLIP, with files that nothing loads."""
    hub = Hub.of(save_scorer("clip", tmp_path))
    hub.files |= dict.fromkeys(UNNEEDED, b"not loaded")
    server = hub.start()
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    """A machine whose models file names the repository as a scorer."""
    found = Machine(tmp_path, hub)
    entry = {"kinds": ["similarity"], "repository": REPOSITORY, "licence": "my own"}
    found.models_file.write_text(yaml.safe_dump({"scorers": {"painter": entry}}))
    return found


def test_a_pulled_scorer_is_complete_offline_and_nothing_else_was_sent(machine: Machine, hub: Hub):
    assert machine.listed()["cached"] == "none"
    code, text = machine.run("pull", "painter")
    assert (code, f"painter: {REPOSITORY} at {COMMIT[:12]}" in text) == (0, True)
    assert {name for name, _ in hub.requests} == set(hub.files) - set(UNNEEDED)
    assert (machine.listed()["cached"], machine.listed()["cached_commit"]) == ("whole", COMMIT)
    assert "it was there already" in machine.run("pull", "painter", HF_HUB_OFFLINE="1")[1]


@pytest.mark.parametrize("pulled", [True, False], ids=["pulled", "not pulled"])
def test_a_repository_is_loaded_at_its_commit_from_the_files_that_it_needs(machine: Machine, hub: Hub, pulled: bool):
    if pulled:
        assert machine.run("pull", "painter")[0] == 0
    code = (
        "from tests.models.score_jobs import scorers; from imagemill.models.loading.scorer_cache import "
        "resident_scorer; spec = scorers(fits={'kind': 'similarity', 'model': 'painter'})['fits']; "
        "print(spec.source.commit, spec.licence, type(resident_scorer(spec, lambda event: None).model).__name__)"
    )
    environment = machine.environment | ({"HF_HUB_OFFLINE": "1"} if pulled else {})
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert loaded.stdout.strip() == f"{COMMIT} my own CLIPModel", loaded.stderr
    assert {name for name, _ in hub.requests} <= set(hub.files) - set(UNNEEDED)


def test_a_repository_of_a_head_is_pulled_into_a_folder(machine: Machine, hub: Hub, tmp_path: Path):
    file = head(tmp_path / "head")
    hub.files = {"aesthetic.safetensors": file.read_bytes(), "README.md": b"about it", "model.pth": b"pickled"}
    code, text = machine.run("pull", REPOSITORY, "--to", str(tmp_path / "pulled"), "--json")
    assert code == 0, text
    assert json.loads(text)["is_scorer"]
    assert {path.name for path in (tmp_path / "pulled").iterdir()} == {"aesthetic.safetensors", ".pull.lock"}


def test_a_repository_with_pickled_weights_alone_is_refused(machine: Machine, hub: Hub):
    for name in [name for name in hub.files if name.endswith(".safetensors")]:
        del hub.files[name]
    code, text = machine.run("pull", "painter")
    assert code == 2
    assert "has these weights at its top: flax_model.msgpack, pytorch_model.bin. imagemill loads only" in text


def test_the_list_has_every_scorer_with_its_licence(imagemill: Run):
    code, text = imagemill("models")
    assert code == 0
    scorers, lines = read_catalog().scorers, text.splitlines()[1 + len(read_catalog().models) :]
    assert [line.split()[0] for line in lines[: len(scorers)]] == list(scorers)
    for entry, line in zip(scorers.values(), lines):
        assert line.rstrip().endswith(entry.licence)
