"""A dataset records the commits of its scorers' models, and takes no other thing for a commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.models.catalog.scorers.heads import HeadFile
from imagemill.models.catalog.scorers.spec import PHASH, ScorerSpec
from imagemill.models.catalog.source import ModelSource
from imagemill.tasks.pinned import locator, pin_scorers

ONE, TWO = "1" * 40, "2" * 40


def scorer(**more: Any) -> ScorerSpec:
    head = HeadFile(ModelSource("org/head", commit=TWO, requested="v1"), "model.safetensors")
    return ScorerSpec("looks", "head", source=ModelSource("org/clip", commit=ONE), head=head, **more)


def test_models_and_heads_are_found_at_the_commit_of_the_first_build(tmp_path: Path):
    folder = Folder(str(tmp_path / "out"))
    local = ScorerSpec("fits", "similarity", source=ModelSource("/models/clip", files="f" * 32))
    with folder.lock("name"):
        pin_scorers([scorer(), local, PHASH], folder.pin)
    assert {name: value for name, value in folder.pinned().items() if "/" in name} == {
        "org/clip@default": ONE,
        "org/head@v1": TWO,
    }
    found = locator(None, str(tmp_path / "out"))
    assert found.at_commit("scorers.looks.model", "org/clip", None).commit == ONE
    assert found.at_commit("scorers.looks.head", "org/head", "v1").commit == TWO


def test_a_pin_that_no_build_could_have_made_is_refused():
    with pytest.raises(OutputError, match=r"pins 'org/clip@default' to '\.\./elsewhere'"):
        pin_scorers([scorer()], lambda name, choose: "../elsewhere")
