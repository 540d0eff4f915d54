"""The checks for a GPU run with tiny models on a CPU, as far as they go there: none fails where one is at hand."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_checks.__main__ import LIMITS
from benchmarks.gpu_checks.check import ROOT, Setup
from benchmarks.gpu_checks.model import save_models
from imagemill.models.loading import pipeline_cache

PROMISED = {"resident", "offload", "neighbours"}
"""Checks whose answers on a CPU depend on neither its speed nor its packages."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with torch.random.fork_rng(devices=[]):
        return save_models(tmp_path_factory.mktemp("models"), tiny=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_a_check_answers_each_of_its_questions(
    name: str, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    check = importlib.import_module(f"benchmarks.gpu_checks.{name}")
    answers = list(check.run(Setup(models, tmp_path, tiny=True)))
    assert answers
    for answer in answers:
        assert answer.question.endswith("?")
        assert answer.answer in ("yes", "no") or answer.answer.startswith("not run: ")
        json.dumps(answer.figures)
    if name in PROMISED:
        assert {answer.answer for answer in answers} == {"yes"}


@pytest.mark.slow
def test_the_command_writes_the_answers_and_a_check_that_fails_takes_no_other_with_it(tmp_path: Path):
    # One that has no time at all is stopped.
    program = "from benchmarks.gpu_checks import __main__ as m; m.LIMITS['load_path'] = 0.01; m.main()"
    command = [
        sys.executable,
        "-c",
        program,
        "--tiny",
        "--only",
        "load_path",
        "checkers",
        "--json",
        str(tmp_path / "found.json"),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    first, second = json.loads((tmp_path / "found.json").read_text())["answers"]
    assert (first["check"], first["answer"]) == ("load_path", "failed: stopped after 0 s")
    assert (second["check"], second["answer"]) == ("checkers", "yes")
