"""Flows can be pickled, as Prefect does to run a served flow in another process: their settings alone."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest
from prefect import Flow

from imagemill.flows.build_dataset import build_dataset
from imagemill.flows.build_images import build_images
from imagemill.flows.plan_dataset import plan_dataset
from imagemill.flows.prefect_server.served_flow import ServedFlow
from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner


def again(thing: Any) -> Any:
    """The thing, pickled and loaded."""
    return cloudpickle.loads(cloudpickle.dumps(thing))


@pytest.mark.parametrize("flow", [build_dataset, build_images, verify_dataset], ids=lambda flow: flow.name)
def test_a_pickled_flow_is_the_same_flow(flow: Flow):
    loaded = again(flow)
    assert type(loaded) is ServedFlow
    assert (loaded.name, loaded.parameters) == (flow.name, flow.parameters)
    assert loaded.fn.__code__.co_code == flow.fn.__code__.co_code


def test_the_plan_can_be_pickled():
    assert again(plan_dataset) is plan_dataset


def test_a_pickled_flow_with_options_keeps_them():
    flow = again(build_dataset.with_options(name="mine", task_runner=GpuTaskRunner(workers=3, shards=5)))
    assert (flow.name, flow.task_runner.workers, flow.task_runner.max_in_flight()) == ("mine", 3, 5)


def test_a_pickled_runner_has_nothing_that_was_started():
    with GpuTaskRunner(workers=1) as runner:
        assert runner.submit_call(int, "6").result() == 6
        loaded = again(runner)
    # It starts once; a started one would refuse.
    with loaded:
        assert loaded.submit_call(int, "7").result() == 7


def test_a_runner_that_follows_the_environment_follows_that_of_the_process_that_loads_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("IMAGEMILL_CLUSTER", "tcp://127.0.0.1:1111")
    pickled = cloudpickle.dumps(GpuTaskRunner())
    monkeypatch.setenv("IMAGEMILL_CLUSTER", "tcp://127.0.0.1:2222")
    assert cloudpickle.loads(pickled).address == "tcp://127.0.0.1:2222"
    monkeypatch.delenv("IMAGEMILL_CLUSTER")
    named = GpuTaskRunner(address="tcp://127.0.0.1:3333")
    assert again(named).address == "tcp://127.0.0.1:3333"
