"""A dataset's folder from someone else is data: a build in it runs no code and follows no name out of the folder."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import cloudpickle
import pytest

from imagemill.tasks import step_cache
from tests.conftest import Build
from tests.data.staging.test_step_results import Touch


def raw(bomb: Touch) -> bytes:
    return cloudpickle.dumps(bomb)


def prefect_record(bomb: Touch) -> bytes:
    """A result as Prefect stores it: the file itself names the serializer that reads it."""
    metadata = {
        "storage_key": None,
        "serializer": {"type": "pickle", "picklelib": "pickle"},
        "prefect_version": "3.9.1",
    }
    return json.dumps({"metadata": metadata, "result": base64.encodebytes(pickle.dumps(bomb)).decode()}).encode()


def compressed_record(bomb: Touch) -> bytes:
    metadata = {"serializer": {"type": "compressed/pickle"}, "prefect_version": "3.9.1"}
    return json.dumps({"metadata": metadata, "result": base64.encodebytes(pickle.dumps(bomb)).decode()}).encode()


def json_record(bomb: Touch) -> bytes:
    """Prefect's JSON: the names of the classes that it makes, with their arguments."""
    call = {"__class__": "subprocess.Popen", "data": {"args": ["touch", str(bomb.path)]}}
    metadata = {"serializer": {"type": "json", "object_decoder": "os.system"}, "prefect_version": "3.9.1"}
    return json.dumps({"metadata": metadata, "result": json.dumps(call), **call}).encode()


DISGUISES: list[Callable[[Touch], bytes]] = [raw, prefect_record, compressed_record, json_record]


def test_results_that_carry_code_are_neither_run_nor_taken(
    build: Build, fields: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keys, step_key = [], step_cache.step_key
    with monkeypatch.context() as patch:
        patch.setattr(step_cache, "step_key", lambda *step: keys.append(step_key(*step)) or keys[-1])
        expected = build(fields, {"output": str(tmp_path / "undisturbed")})
    results, marker = tmp_path / "out" / ".imagemill" / "results", tmp_path / "ran"
    results.mkdir(parents=True)
    names = [f"{key}{suffix}" for suffix in ("", ".json") for key in keys]
    assert len(names) == 8
    for name, disguise in zip(names, cycle(DISGUISES), strict=False):
        (results / name).write_bytes(disguise(Touch(marker)))
    figures = build(fields)
    assert not marker.exists()
    assert figures["fingerprint"] == expected["fingerprint"]
    assert figures["generated"] == expected["generated"] == 8
    # The disguises are no blanks.
    pickle.loads(raw(Touch(marker)))
    assert marker.exists()
