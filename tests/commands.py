"""Fixtures of the commands' tests: a built dataset, copies of it to damage, and the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from imagemill.data.storage.locations import hash_file
from imagemill.flows.cli.app import main
from tests import rest
from tests.conftest import Build, small_fields
from tests.starter import Started, Starter


@pytest.fixture(scope="session")
def built(build: Build, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of a recipe whose dataset is built: four rows, each generated and edited. Read-only."""
    fields = small_fields(tmp_path_factory.mktemp("built"), model)
    build(fields)
    return fields


@pytest.fixture
def mine(built: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A copy of that recipe, with its prompts and its dataset, that a test may change."""
    shutil.copytree(built["output"], tmp_path / "out")
    shutil.copy(built["prompts"], tmp_path / "prompts.jsonl")
    return {**built, "output": str(tmp_path / "out"), "prompts": str(tmp_path / "prompts.jsonl")}


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def imagemill(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; returns its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return end.value.code, "".join(capsys.readouterr())

    return run


Launch = Callable[..., Started]


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """The process that commands are forked from."""
    starter = Starter(tmp_path_factory.mktemp("commands"))
    yield starter
    starter.stop()


@pytest.fixture
def launch(starter: Starter) -> Iterator[Launch]:
    """Starts the command line in a new process, which ends with the test at the latest."""
    started: list[Started] = []

    def run(*arguments: str, constants: dict[str, int] | None = None) -> Started:
        started.append(starter.start(*map(str, arguments), constants=constants))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


Report = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def report(imagemill: Run) -> Report:
    """Runs a command with --json; returns its exit code and the object."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code, text = imagemill(*arguments, "--json")
        return code, json.loads(text)

    return run


Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def ask(server: str) -> Ask:
    """Calls the server's REST API with a path and a body to post; returns the answer, or (status, answer) on errors."""

    def run(path: str, body: dict[str, Any] | None = None) -> Any:
        status, answer = rest.ask(server, path, body)
        return answer if status < 400 else (status, answer)

    return run


def recipe_file(fields: dict[str, Any]) -> str:
    path = Path(fields["prompts"]).with_name("recipe.yaml")
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def state_of(folder: str) -> list[tuple[str, int, int]]:
    paths = sorted(Path(folder).rglob("*"))
    return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]


def only_file(output: Path) -> Path:
    return next((output / "data").iterdir())


def flip_a_byte(output: Path) -> None:
    path = only_file(output)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def rewrite(output: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file and adapt the manifest, so that only the file's rows reveal it."""
    path, manifest = only_file(output), output / "manifest.json"
    pq.write_table(change(pq.read_table(path)), path)
    content = json.loads(manifest.read_text())
    content["files"][0] |= {"bytes": path.stat().st_size, "sha256": hash_file(path)}
    manifest.write_text(json.dumps(content))


def replace_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))
