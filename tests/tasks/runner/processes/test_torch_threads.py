"""Torch's threads spin briefly in a worker, unless the user has chosen how they wait."""

import pytest

from imagemill.tasks.runner.processes.torch_threads import wait_policy


def test_threads_that_wait_spin_briefly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert wait_policy() == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "0")])
def test_a_users_choice_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv(name, value)
    assert wait_policy() == {}
