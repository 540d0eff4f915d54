"""A dataset's folder from someone else is data: a build in it runs no code and follows no name out of the folder."""

from __future__ import annotations

import base64
import json
import pickle
import random
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import cloudpickle
import pytest

from imagemill.data.errors import OutputError
from imagemill.data.storage.locations import hash_file
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
    # A key is computed before a step's task run, in it, and after it.
    names = [f"{key}{suffix}" for suffix in ("", ".json") for key in dict.fromkeys(keys)]
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


def test_garbage_in_every_file_of_an_interrupted_build_is_ignored(build: Build, fields: dict, tmp_path: Path):
    expected = build(fields, {"output": str(tmp_path / "undisturbed")})["fingerprint"]
    state = tmp_path / "out" / ".imagemill"
    noise = random.Random(4).randbytes(5000)
    names = ["plan.sqlite", "plan.sqlite-journal", "plan.sqlite-wal", "files.jsonl", "failures.jsonl", "merge.json"]
    names += ["attempts.json", "holder.json", "lock", "staged/a.staged", "staged/b.staged", "staged/shared"]
    names += ["staged/under-way/run/step/mark.json", "results/x", "given/image.png", "tmp/train-00000.parquet"]
    for name in names:
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(noise)
    record = {"key": "0" * 32, "sha256": "0" * 64, "width": 8, "height": 8, "batch_size": 1, "device": "cpu"}
    faults = [{"width": "8"}, {"batch_size": -1}, {"measures": [1]}, {"more": 1}, {"key": None}]
    for number, fault in enumerate(faults):
        header = json.dumps([["png", 3, record | fault]]).encode()
        (state / "staged" / f"{number}.staged").write_bytes(header + b"\nabc")
    for number, header in enumerate([b"[]", b"{}", b'["png"]', b'[["png", -1, {}]]', b"[" * 9999, b'[["png", 3, 7]]']):
        (state / "staged" / f"header-{number}.staged").write_bytes(header + b"\nabc")
    assert build(fields)["fingerprint"] == expected
    assert sorted(path.name for path in state.iterdir()) == ["files.jsonl", "folder.json", "paths.json"]


def test_an_interrupted_merge_deletes_nothing_outside_of_the_folder(build: Build, mine: dict, tmp_path: Path):
    output, victim = Path(mine["output"]), tmp_path / "victim"
    victim.write_text("mine")
    (file,) = (output / "data").iterdir()
    merge = {"name": file.name, "sha256": hash_file(file), "old": ["../../victim", str(victim)]}
    (output / ".imagemill" / "merge.json").write_text(json.dumps(merge))
    assert build(mine)["generated"] == 0
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "pinned",
    [
        {"generate.seed": "../x"},
        {"generate.seed": -7},
        {"generate.seed": 2**64},
        {"prompt_truncated": "yes"},
    ],
)
def test_a_decision_that_no_build_could_have_pinned_is_refused(build: Build, mine: dict, pinned: dict):
    about = Path(mine["output"]) / ".imagemill" / "folder.json"
    content = json.loads(about.read_text())
    about.write_text(json.dumps(content | {"pinned": content["pinned"] | pinned}))
    with pytest.raises(OutputError, match="which no build could have chosen"):
        build(mine, {"generate.seed": -1})
