"""Builds on a real SLURM cluster of one node, with the texts of docs/operations/slurm.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, small_fields, wait_until, write_prompts
from tests.tasks.certificates import make_certificates, tls_settings
from tests.tasks.slurm import running_slurm

pytestmark = pytest.mark.long

PROMPTS = [f"number {number}" for number in range(24)]
DOCUMENTED = re.findall(r"```(?:sh|python)\n(.*?)```", (ROOT / "docs/operations/slurm.md").read_text(), re.DOTALL)


def documented(beginning: str, changes: dict[str, str]) -> str:
    """The text of docs/operations/slurm.md that begins so, made to fit this machine."""
    text = next(text for text in DOCUMENTED if text.startswith(beginning))
    for there, here in changes.items():
        assert there in text
        text = text.replace(there, here)
    return text


@pytest.fixture(scope="module")
def expected(server: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fingerprint of the dataset that one worker generates from the prompts, undisturbed and without SLURM."""
    from imagemill.data.config.load import load_recipe
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    fields = small_fields(tmp_path_factory.mktemp("one"), model)
    write_prompts(Path(fields["prompts"]), PROMPTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEMILL_PIPELINE", "benchmarks.stand_in:make_sleeper")
        patch.setenv("IMAGEMILL_STAND_IN_SECONDS", "0")
        return build_dataset.with_options(task_runner=GpuTaskRunner(workers=1))(load_recipe(fields))["fingerprint"]


class Slurm:
    """A SLURM cluster whose jobs have imagemill on their path, certificates, and a stand-in that takes a second."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **environment,
            **tls_settings(make_certificates(folder / "certificates")),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}",
            "IMAGEMILL_PIPELINE": "benchmarks.stand_in:make_sleeper",
            "IMAGEMILL_STAND_IN_SECONDS": "1",
        }

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def jobs(self, *states: str) -> list[str]:
        """Ids of the jobs in these states, by default of all that have not ended."""
        wanted = [f"--states={','.join(states)}"] if states else []
        return self.call("squeue", "--noheader", "--array", "--format=%i", *wanted).split()

    @contextmanager
    def running(self, name: str, *command: str) -> Iterator[subprocess.Popen]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder, env=self.environment
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(300)

    def found(self, name: str, pattern: str) -> str:
        """The first group of the pattern in a log, once it appears."""
        log = self.folder / f"{name}.log"
        return wait_until(lambda: log.exists() and re.search(pattern, log.read_text()), f"{pattern} in {name}")[1]

    def build(self, address: str, fields: dict[str, Any], disturb: Callable[[], None]) -> dict[str, Any]:
        """Build on a cluster with the command line, disturbed after the first image; returns the run's figures."""
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(fields))
        command = [sys.executable, "-m", "imagemill", "build", "recipe.yaml", "--cluster", address]
        with self.running("build", *command) as build:
            staged = Path(fields["output"]) / ".imagemill" / "staged"

            def has_begun() -> bool:
                assert build.poll() is None, (self.folder / "build.log").read_text()
                return any(staged.glob("*.staged"))

            wait_until(has_begun, "an image")
            disturb()
            assert build.poll() is None, "it was over before it was disturbed"
            assert build.wait(300) == 0, (self.folder / "build.log").read_text()
        return json.loads((Path(fields["output"]) / "runs.jsonl").read_text().splitlines()[-1])


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    with running_slurm() as environment:
        yield Slurm(tmp_path, environment)


@pytest.fixture
def fields(tmp_path: Path, model: Path) -> dict[str, Any]:
    """A recipe of 24 prompts, each generated and edited, in twelve shards."""
    fields = small_fields(tmp_path, model)
    write_prompts(Path(fields["prompts"]), PROMPTS)
    return fields


def test_a_job_of_the_documented_array_that_is_cancelled_leaves_its_shard_to_the_others(
    slurm: Slurm, expected: str, fields: dict[str, Any]
):
    with slurm.running("scheduler", "imagemill", "scheduler", "--port", "0"):
        address = slurm.found("scheduler", r"scheduler at (tls://\S+)")
        changes = {"tls://head:8786": address, "--array=1-8": "--array=1-2", "--mem=64G": "--mem=1G"}
        (slurm.folder / "workers.sh").write_text(documented("#!/bin/bash\n#SBATCH", changes))
        job = slurm.call("sbatch", "--parsable", "workers.sh")
        for number in (1, 2):
            slurm.found(f"worker-{job}-{number}", r"worker (\S+) at tls://")
        figures = slurm.build(address, fields, disturb=lambda: slurm.call("scancel", f"{job}_1"))
        wait_until(lambda: slurm.jobs() == [f"{job}_2"], "the end of the cancelled job")
        slurm.call("scancel", job)
        wait_until(lambda: slurm.jobs() == [], "the end of the workers")
    assert (figures["status"], figures["fingerprint"], figures["set_aside"]) == ("complete", expected, 0)


def test_the_documented_slurm_cluster_submits_jobs_while_shards_wait_and_replaces_one_that_is_cancelled(
    slurm: Slurm, expected: str, fields: dict[str, Any]
):
    pytest.importorskip("dask_jobqueue")
    changes = {'"head", "port": 8786': '"127.0.0.1", "port": 0', '"64GB"': '"1GB"', "maximum=16": "maximum=2"}
    (slurm.folder / "cluster.py").write_text(documented("from dask_jobqueue", changes))

    def cancel_one() -> None:
        wait_until(lambda: len(slurm.jobs("RUNNING")) == 2, "two jobs")
        slurm.call("scancel", slurm.jobs("RUNNING")[0])

    with slurm.running("cluster", sys.executable, "cluster.py") as cluster:
        figures = slurm.build(slurm.found("cluster", r"(tls://\S+)"), fields, cancel_one)
        cluster.communicate(b"\n", timeout=300)
        assert cluster.returncode == 0, (slurm.folder / "cluster.log").read_text()
    wait_until(lambda: slurm.jobs() == [], "the end of all jobs")
    assert (figures["status"], figures["fingerprint"], figures["set_aside"]) == ("complete", expected, 0)
