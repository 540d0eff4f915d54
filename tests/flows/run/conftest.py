"""A server and a worker that can be killed, and builds that wait in the middle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import small_fields, wait_until, write_prompts
from tests.tasks.machine import Machine

PROMPTS = [f"number {number}" for number in range(16)]

InTheMiddle = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workers wait while this file exists."""
    return tmp_path_factory.mktemp("held") / "hold"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, empty_home: Path, hold: Path) -> Iterator[Machine]:
    """A server that setup-prefect has set up, and a worker whose builds share one cluster."""
    from benchmarks.shared_cluster import shared_cluster

    home = shutil.copytree(empty_home, tmp_path_factory.mktemp("machine"), dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("IMAGEMILL_PIPELINE", "tests.models.held:held")
        patch.setenv("IMAGEMILL_HOLD", str(hold))
        cluster = stack.enter_context(shared_cluster(workers=1))
        patch.undo()
        machine = Machine(home, IMAGEMILL_CLUSTER=cluster, PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY="PT1S")
        stack.callback(machine.stop)
        machine.start_server()
        machine.set_up()
        machine.start_worker()
        yield machine


@pytest.fixture
def recipe(tmp_path: Path, model: Path) -> dict[str, Any]:
    """A recipe of 16 images in four shards, about a second each."""
    return recipe_in(tmp_path, model)


def recipe_in(folder: Path, model: Path) -> dict[str, Any]:
    """That recipe, with its prompts and output in this folder."""
    folder.mkdir(exist_ok=True)
    fields = small_fields(folder, model) | {"edit": None, "shard_size": 4, "checks": {"blank": False}}
    write_prompts(folder / "prompts.jsonl", PROMPTS)
    return fields


@pytest.fixture(scope="module")
def undisturbed(machine: Machine, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fingerprint of that recipe's dataset, built without a crash."""
    return machine.build(recipe_in(tmp_path_factory.mktemp("undisturbed"), model))["fingerprint"]


@pytest.fixture(scope="module")
def in_the_middle(machine: Machine, hold: Path) -> InTheMiddle:
    """Starts a run that has committed a file and has more to generate, and waits inside the block."""

    @contextmanager
    def run(fields: dict[str, Any]) -> Iterator[str]:
        run = machine.run(fields)
        wait_until(lambda: list(Path(fields["output"]).glob("data/*.parquet")), "a committed file")
        hold.touch()
        try:
            yield run
        finally:
            hold.unlink()

    return run
