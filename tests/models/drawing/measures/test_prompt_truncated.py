"""Prompts that no text encoder of their model takes in full are counted, and noted beside their images."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagemill.data.staging.store import Staging
from imagemill.models.drawing.draw import draw
from tests.models.jobs import loaded_as, make_job
from tests.models.tiny import save_tiny

COUNTED = {"prompt_truncated": False}
"""As in a recipe that leaves the column out."""


def truncated(family: str, folder: Path, lengths: list[int]) -> list[bool]:
    """Which of the prompts of these lengths are truncated; a character is a token, and the end another."""
    prompts = ["a" * length for length in lengths]
    request = make_job(save_tiny(family, folder), folder / "staged", prompts, measures=COUNTED)
    report = draw(request, lambda event: None)
    assert report.generated == len(lengths)
    staging = Staging(folder / "staged")
    values = [staging.find(drawing.key, "png").measures["prompt_truncated"] for drawing in request.drawings]
    assert report.truncated == sum(values)
    return values


def test_a_prompt_that_the_longest_encoder_reads_in_full_is_not_truncated(tmp_path: Path):
    assert truncated("FluxPipeline", tmp_path, [76, 77, 511, 512]) == [False, False, False, True]


def test_with_one_encoder_its_limit_counts(tmp_path: Path):
    assert truncated("StableDiffusionPipeline", tmp_path, [76, 77]) == [False, True]


def test_a_stand_in_without_tokenizers_truncates_none(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:poisoned")
    request = make_job(model, tmp_path, ["a fox " * 500], measures=COUNTED)
    # Otherwise the stand-in stays loaded as the model itself, for the tests after this one.
    assert draw(loaded_as(request, "without tokenizers"), lambda event: None).truncated == 0
    assert Staging(tmp_path).find(request.drawings[0].key, "png").measures == {"prompt_truncated": None}
