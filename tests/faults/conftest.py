"""Fixtures of the tests of faults: the compiled shim, and builds in processes that have it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import small_fields, write_prompts
from tests.faults.shim import Faults, compile_shim

IMAGES = 16
"""Images of ``small``'s dataset: eight prompts, each generated and edited."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    return compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    """The control file of one test."""
    return Faults(tmp_path / "faults")


@dataclass(frozen=True)
class Ended:
    """A build that has ended."""

    code: int
    out: str
    errors: str


@dataclass(frozen=True)
class Small:
    """A recipe of eight prompts in four shards, and builds of it in processes of their own, with the shim."""

    fields: dict[str, Any]
    path: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]]

    @property
    def output(self) -> Path:
        return Path(self.fields["output"])

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a build, in a process group of its own."""
        self.path.write_text(yaml.safe_dump(self.fields))
        return self._start(["build", str(self.path), "--workers", "1", *arguments], environment)

    def _start(self, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "imagemill", *arguments]
        process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def build(self, *arguments: str, **environment: str) -> Ended:
        """Build, and wait for the end."""
        return _end(self.start(*arguments, **environment))

    def run(self, *arguments: str, **environment: str) -> Ended:
        """Run another command, and wait for the end."""
        return _end(self._start([*arguments], environment))


def _end(process: subprocess.Popen[str]) -> Ended:
    out, errors = process.communicate(timeout=300)
    return Ended(process.returncode, out, errors)


@pytest.fixture
def small(
    server: str, model: Path, library: Path, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Small]:
    """Builds of a small dataset with faults."""
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:steady")
    fields = small_fields(tmp_path, model)
    write_prompts(Path(fields["prompts"]), [f"number {number}" for number in range(IMAGES // 2)])
    started: list[subprocess.Popen[str]] = []
    yield Small(fields, tmp_path / "recipe.yaml", faults.environment(library), started)
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="session")
def expected(server: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Small], str]:
    """The fingerprint of the small dataset, built undisturbed."""
    known: list[str] = []

    def fingerprint(small: Small) -> str:
        if not known:
            undisturbed = Small({**small.fields, "output": f"{small.output}-undisturbed"}, small.path, {}, [])
            ended = undisturbed.build()
            assert ended.code == 0, ended.errors
            known.append(fingerprint_of(ended))
        return known[0]

    return fingerprint


def fingerprint_of(ended: Ended) -> str:
    """The fingerprint that a complete build has printed."""
    [line] = [line for line in ended.out.splitlines() if line.startswith("Fingerprint: ")]
    return line.removeprefix("Fingerprint: ")
