"""Prompts that no text encoder of their model takes in full are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.models.drawing.draw import draw
from tests.models.jobs import loaded_as, make_job, silent
from tests.models.tiny import save_tiny


def counted(family: str, folder: Path, lengths: list[int]) -> int:
    """How many prompts of these lengths are cut; a character is a token, and the end another."""
    job = make_job(save_tiny(family, folder), folder / "staged", ["a" * length for length in lengths])
    report = draw(job, silent)
    assert report.generated == len(lengths)
    return report.truncated


def test_a_prompt_that_the_longest_encoder_reads_in_full_is_not_counted(tmp_path: Path):
    assert counted("FluxPipeline", tmp_path, [76, 77, 511, 512]) == 1


def test_with_one_encoder_its_limit_counts(tmp_path: Path):
    assert counted("StableDiffusionPipeline", tmp_path, [76, 77]) == 1


def test_a_stand_in_without_tokenizers_has_none(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:poisoned")
    job = make_job(model, tmp_path, ["a fox " * 500])
    # Otherwise the stand-in would stay loaded as the model itself, for the tests after this one.
    assert draw(loaded_as(job, "without tokenizers"), silent).truncated == 0
