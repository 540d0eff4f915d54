"""What a worker must agree on with the build before it generates: the versions, and the folder that both see."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.models.jobs import make_job as job

from imagemill.data.errors import BuildFailed
from imagemill.tasks.runner.job_message import pack, unpack, versions


def test_a_worker_with_the_same_versions_and_folder_reads_the_job(model: Path, tmp_path: Path):
    asked = job(model, tmp_path, ["a fox"])
    assert unpack(pack(asked), within=0) == asked


def test_a_worker_with_other_versions_refuses_the_job_and_says_which(model: Path, tmp_path: Path):
    parcel = pack(job(model, tmp_path, ["a fox"]))
    other = replace(parcel, job=b"unreadable", versions={**versions(), "diffusers": "0.1.0"})
    differs = rf"diffusers {versions()['diffusers']} \(the build: 0\.1\.0\): .*same versions"
    with pytest.raises(BuildFailed, match=differs):
        unpack(other, within=0)


def test_a_worker_that_does_not_see_the_folder_says_so(model: Path, tmp_path: Path):
    parcel = pack(job(model, tmp_path, ["a fox"]))
    shutil.rmtree(parcel.staging)
    with pytest.raises(BuildFailed, match=r"does not see the build's folder .* needs the output's file system"):
        unpack(parcel, within=0)


def test_a_folder_of_the_same_path_on_another_disk_is_not_taken_for_the_build_s(model: Path, tmp_path: Path):
    asked = job(model, tmp_path, ["a fox"])
    parcel = pack(asked)
    shutil.rmtree(parcel.staging)
    pack(asked)
    with pytest.raises(BuildFailed, match="does not see the build's folder"):
        unpack(parcel, within=0)


def test_a_folder_that_shows_late_is_waited_for(model: Path, tmp_path: Path):
    asked = replace(job(model, tmp_path, ["a fox"]), staging=str(tmp_path / "staged"))
    parcel, away = pack(asked), tmp_path / "away"
    Path(parcel.staging).rename(away)
    threading.Timer(0.2, lambda: away.rename(parcel.staging)).start()
    assert unpack(parcel, within=30) == asked
