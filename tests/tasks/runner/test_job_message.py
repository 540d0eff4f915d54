"""A worker generates only if it has the build's versions and sees the build's folder."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from imagemill.data.errors import BuildFailed
from imagemill.tasks.runner.job_message import pack, unpack, versions
from tests.models.jobs import make_job as job


def test_a_worker_with_the_same_versions_and_folder_reads_the_job(model: Path, tmp_path: Path):
    packed = job(model, tmp_path, ["a fox"])
    assert unpack(pack(packed), timeout_s=0) == packed


def test_a_worker_with_other_versions_refuses_the_job_and_names_them(model: Path, tmp_path: Path):
    message = pack(job(model, tmp_path, ["a fox"]))
    other = replace(message, job=b"unreadable", versions={**versions(), "diffusers": "0.1.0"})
    differs = rf"diffusers {versions()['diffusers']} \(the build: 0\.1\.0\): .*same versions"
    with pytest.raises(BuildFailed, match=differs):
        unpack(other, timeout_s=0)


def test_a_worker_that_does_not_see_the_folder_refuses_the_job(model: Path, tmp_path: Path):
    message = pack(job(model, tmp_path, ["a fox"]))
    shutil.rmtree(message.staging)
    with pytest.raises(BuildFailed, match=r"does not see the build's folder .* needs the output's file system"):
        unpack(message, timeout_s=0)


def test_a_folder_with_the_same_path_on_another_disk_is_not_the_builds(model: Path, tmp_path: Path):
    packed = job(model, tmp_path, ["a fox"])
    message = pack(packed)
    shutil.rmtree(message.staging)
    pack(packed)
    with pytest.raises(BuildFailed, match="does not see the build's folder"):
        unpack(message, timeout_s=0)


def test_a_folder_that_appears_late_is_waited_for(model: Path, tmp_path: Path):
    packed = replace(job(model, tmp_path, ["a fox"]), staging=str(tmp_path / "staged"))
    message, away = pack(packed), tmp_path / "away"
    Path(message.staging).rename(away)
    threading.Timer(0.2, lambda: away.rename(message.staging)).start()
    assert unpack(message, timeout_s=30) == packed
