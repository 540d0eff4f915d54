"""`imagemill models` and `imagemill models pull`, against a small hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemill.data.config.steps import Generate
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from tests.commands import Run
from tests.conftest import wait_until
from tests.models.hub_stand_in import COMMIT, REPOSITORY, Hub

UNNEEDED = ["unet.fp16.safetensors", "transformer/diffusion_pytorch_model.fp16.safetensors", "vae/flax_model.msgpack"]
UNNEEDED += ["text_encoder/pytorch_model.bin", "README.md", "all-in-one.safetensors", "text_encoder/model.onnx"]
LARGE = "transformer/diffusion_pytorch_model.safetensors"
MIB = 2**20
LONG = bytes(range(256)) * (20 * MIB // 256)
"""The hub's client writes chunks of 10 MiB: a file that can be cut short has more."""


@pytest.fixture
def hub(model: Path) -> Iterator[Hub]:
    """A hub with one repository: a small model, and files that no build loads."""
    hub = Hub.of(model)
    hub.files |= dict.fromkeys(UNNEEDED, b"not loaded")
    server = hub.start()
    yield hub
    hub.resumed.set()
    server.shutdown()
    server.server_close()


class Machine:
    """Environment of another machine: an empty cache, and a models file that names the hub's repository."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.cache, self.models_file = folder / "cache", folder / "models.yaml"
        entry = {"family": "FluxPipeline", "repository": REPOSITORY, "licence": "my own"}
        self.models_file.write_text(yaml.safe_dump({"models": {"painter": entry}}))
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_TOKEN")},
            "HF_ENDPOINT": hub.address,
            "HF_HUB_CACHE": str(self.cache),
            "IMAGEMILL_MODELS": str(self.models_file),
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-c", "from imagemill.flows.cli.app import main; main()", "models", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment | environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=300)
        return process.returncode, out + err

    def listed(self) -> dict[str, Any]:
        """The repository's entry in the list of models."""
        code, text = self.run("--json")
        assert code == 0
        return next(entry for entry in json.loads(text) if entry["key"] == "painter")


def is_loaded(spec: ModelSpec) -> bool:
    """Load the pipeline: it has a transformer."""
    import torch

    from imagemill.models.loading.pipeline import load_pipeline

    return load_pipeline(spec, torch.device("cpu"), {}).transformer is not None


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, hub)


def test_a_pulled_model_is_complete_offline_and_nothing_else_was_sent(machine: Machine, hub: Hub):
    assert machine.listed()["cached"] == "none"
    code, text = machine.run("pull", "painter")
    assert (code, f"painter: {REPOSITORY} at {COMMIT[:12]}" in text) == (0, True)
    assert not {name for name, _ in hub.requests} & set(UNNEEDED)
    assert (machine.listed()["cached"], machine.listed()["cached_commit"]) == ("whole", COMMIT)
    sent = len(hub.requests)
    assert "it was there already" in machine.run("pull", "painter")[1]
    assert [name for name, _ in hub.requests[sent:]] == ["model_index.json"]
    assert "it was there already" in machine.run("pull", "painter", HF_HUB_OFFLINE="1")[1]
    code = (
        f"from imagemill.models.hub import resolve_commit; print(resolve_commit('model', {REPOSITORY!r}, None, None))"
    )
    offline = machine.environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    resolved = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, check=True)
    assert resolved.stdout.strip() == COMMIT
    # This process is offline too.
    spec = resolve("generate", Generate(model="painter"), str(machine.cache), models_file=str(machine.models_file))
    assert spec.source.commit == COMMIT
    assert is_loaded(spec)


@pytest.mark.parametrize("where", ["cache", "folder"])
def test_a_killed_download_is_resumed_at_the_next_byte(machine: Machine, hub: Hub, tmp_path: Path, where: str):
    to = ["--to", str(tmp_path / "painter")] if where == "folder" else []
    hub.files[LARGE], hub.stall_after = LONG, 15 * MIB
    process = machine.start("pull", "painter", *to)
    target = machine.cache if where == "cache" else tmp_path / "painter"
    wait_until(lambda: 10 * MIB in [path.stat().st_size for path in target.rglob("*.part")], "half of the file")
    process.kill()
    process.communicate()
    hub.stall_after = None
    hub.resumed.set()
    assert machine.listed()["cached"] == ("part" if where == "cache" else "none")
    hub.requests.clear()
    code, text = machine.run("pull", "painter", *to, "--json")
    assert code == 0, text
    assert [requested for name, requested in hub.requests if name == LARGE] == [f"bytes={10 * MIB}-"]
    assert not [*target.rglob("*.part")]
    assert (Path(json.loads(text)["folder"]) / LARGE).read_bytes() == LONG


def test_a_model_pulled_into_a_folder_is_complete_and_has_no_other_files(machine: Machine, hub: Hub, tmp_path: Path):
    assert machine.run("pull", REPOSITORY, "--to", str(tmp_path / "painter"))[0] == 0
    folder = tmp_path / "painter"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files - {".pull.lock"} == set(hub.files) - set(UNNEEDED)
    spec = resolve("generate", Generate(model=str(folder)))
    assert is_loaded(spec)


def test_a_download_is_resumed_after_a_broken_connection(machine: Machine, hub: Hub):
    hub.files[LARGE], hub.cut_after = LONG, 15 * MIB
    code, text = machine.run("pull", "painter")
    assert code == 0, text
    assert [requested for name, requested in hub.requests if name == LARGE] == [None, f"bytes={10 * MIB}-"]


def test_a_file_that_arrives_damaged_is_deleted(machine: Machine, hub: Hub):
    hub.damage = True
    code, text = machine.run("pull", "painter")
    assert code == 1
    assert "arrived damaged" in text
    hub.damage = False
    assert machine.run("pull", "painter")[0] == 0


def test_a_gated_model_without_a_token_says_what_to_do(machine: Machine, hub: Hub):
    hub.token = "hf_mine"
    code, text = machine.run("pull", "painter")
    assert (code, text) == (
        2,
        f"imagemill: painter: the repository {REPOSITORY!r} is gated. Accept its licence on its page, and put a token "
        "of that account into HF_TOKEN.\n",
    )
    assert machine.run("pull", "painter", HF_TOKEN="hf_mine")[0] == 0


@pytest.mark.parametrize(
    ("key", "environment", "code", "words"),
    [
        ("flux", {}, 2, "'flux' is neither in the catalog (nearest: flux"),
        ("studio/other", {}, 2, "there is no repository 'studio/other' that you may see"),
        ("painter", {"HF_HUB_OFFLINE": "1"}, 1, "HF_HUB_OFFLINE is set, so nothing is downloaded, and 'painter' is"),
        ("painter", {"HF_ENDPOINT": "http://127.0.0.1:9"}, 1, "the hub cannot be reached, or broke off (ConnectErr"),
    ],
)
def test_a_model_that_cannot_be_downloaded_is_one_clear_message(machine: Machine, key, environment, code, words):
    ended, text = machine.run("pull", key, **environment)
    assert (ended, text.count("\n")) == (code, 1)
    assert words in text


def test_the_list_has_every_model_with_its_licence(imagemill: Run):
    code, text = imagemill("models")
    assert code == 0
    models, lines = read_catalog().models, text.splitlines()[1:]
    assert [line.split()[0] for line in lines[: len(models)]] == list(models)
    for entry, line in zip(models.values(), lines):
        assert line.rstrip().endswith(entry.licence)


@pytest.mark.parametrize("pulled", [True, False], ids=["pulled", "not pulled"])
def test_a_repository_with_one_variant_alone_is_loaded_in_it(machine: Machine, hub: Hub, pulled: bool):
    for name in [name for name in hub.files if name.endswith(".fp16.safetensors")]:
        del hub.files[name]
    for name in [name for name in hub.files if "/" in name and name.endswith(".safetensors")]:
        hub.files[name.replace(".safetensors", ".fp16.safetensors")] = hub.files.pop(name)
    if pulled:
        assert machine.run("pull", "painter")[0] == 0
        assert machine.listed()["cached"] == "whole"
    code = (
        "import torch; from imagemill.data.config.steps import Generate; from imagemill.models.catalog.resolve import "
        "resolve; from imagemill.models.loading.pipeline import load_pipeline; "
        "spec = resolve('generate', Generate(model='painter')); "
        "print(type(load_pipeline(spec, torch.device('cpu'), {}).transformer).__name__)"
    )
    environment = machine.environment | ({"HF_HUB_OFFLINE": "1"} if pulled else {})
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert loaded.stdout.strip() == "FluxTransformer2DModel", loaded.stderr
