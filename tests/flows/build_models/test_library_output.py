"""What libraries print, log and warn reaches neither the terminal nor the run's log; what matters of it is counted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Launch, recipe_file
from tests.conftest import ROOT, write_prompts
from tests.models.noisy import MARK
from tests.models.tiny import save_tiny

LONG = [f"number {number} " + "and a fox " * 3000 for number in range(7)]

OF_LIBRARIES = re.compile(
    r"truncated because|sequence length is longer|handle sequences up to|\[PAD\]|Some weights|LOAD REPORT|it/s\]|"
    r"FutureWarning|UserWarning|DeprecationWarning|distributed\.|\[transformers\]|torchvision|Traceback"
)
"""Texts of diffusers, transformers, torch, tqdm and Dask that were seen on terminals."""


@pytest.fixture
def long_prompts(fields: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A recipe of eight prompts, seven of them far longer than a tiny Stable Diffusion reads."""
    write_prompts(Path(fields["prompts"]), [*LONG, "a fox"])
    small = {"model": str(save_tiny("StableDiffusionPipeline", tmp_path)), "steps": 1, "width": 64, "height": 64}
    return {**fields, "generate": {**small, "batch_size": 2}, "edit": None}


def test_long_prompts_are_counted_in_one_line_and_none_of_them_is_quoted(
    long_prompts: dict, server: str, launch: Launch
):
    counted = (
        "7 of the generated prompts are longer than the 77 tokens that their model's text encoders take; the rest of "
        "each was ignored."
    )
    out, errors = (process := launch("build", recipe_file(long_prompts))).communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert out.splitlines().count(counted) == 1
    assert len(out) < 2000
    [line] = (Path(long_prompts["output"]) / "runs.jsonl").read_text().splitlines()
    run = json.loads(line)
    assert (run["prompts_truncated"], run["max_prompt_tokens"]) == (7, [77])


@pytest.mark.long
def test_the_log_of_a_run_has_that_line_once_and_no_line_of_a_library(long_prompts: dict, server: str):
    command = [sys.executable, "-m", "imagemill", "build", "--verbose", "--workers", "1", recipe_file(long_prompts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr.count("7 of the generated prompts are longer than the 77 tokens") == 1
    assert not OF_LIBRARIES.search(done.stderr), done.stderr
    assert len(done.stderr) < 5000
    command = [sys.executable, "-m", "imagemill", "verify", "--regenerate", "3", long_prompts["output"]]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stderr == ""
    assert not OF_LIBRARIES.search(verified.stdout)


@pytest.mark.parametrize(
    "gpus",
    [pytest.param("", id="forked workers"), pytest.param("0", id="spawned workers", marks=pytest.mark.long)],
)
def test_a_noisy_library_is_not_heard_from_a_worker(
    fields: dict, server: str, tmp_path: Path, gpus: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.noisy:noisy")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    command = [sys.executable, "-m", "imagemill", "build", "--verbose", recipe_file(fields | {"edit": None})]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, "PREFECT_LOGGING_LEVEL": "DEBUG"},
    )
    assert MARK not in done.stdout + done.stderr
    [counted] = re.findall(r"Messages of libraries, none of them shown: (.*)\.", done.stderr)
    assert {"diffusers ERROR 2", "diffusers WARNING 2", "PIL WARNING 2"} <= set(counted.split(", "))


SCRIPT = """
import logging, sys, warnings
from imagemill.flows.build_dataset import build_dataset

logging.root.addHandler(logging.FileHandler({log!r}))
mine = logging.StreamHandler(sys.stderr)
logging.getLogger("distributed").addHandler(mine)

def state():
    names = ["", "distributed", "distributed.core", "diffusers", "transformers", "huggingface_hub", "PIL", "torch"]
    loggers = [logging.getLogger(name) for name in names]
    return [(logger.handlers[:], logger.level, logger.propagate, logger.disabled) for logger in loggers], (
        warnings.showwarning, warnings.filters[:], sys.stdout, sys.stderr)

before = state()
figures = build_dataset({recipe!r})
assert figures["status"] == "complete", figures
assert state() == before
logging.getLogger("distributed").error("mine is heard again")
"""


def test_a_script_that_builds_finds_its_logging_and_its_warnings_as_they_were(
    fields: dict, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.noisy:noisy")
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.format(log=str(tmp_path / "mine.log"), recipe=fields | {"edit": None}))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert MARK not in done.stdout + done.stderr + (tmp_path / "mine.log").read_text()
    assert "mine is heard again" in done.stderr


def test_the_last_words_of_a_worker_that_dies_are_kept_beside_its_staged_images(
    fields: dict, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.noisy:fatal")
    command = [sys.executable, "-m", "imagemill", "build", recipe_file(fields | {"edit": None, "shard_size": 4})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert MARK not in done.stdout + done.stderr
    log = Path(fields["output"]) / ".imagemill" / "staged" / "workers.log"
    assert f"{MARK} before the end" in log.read_text()
