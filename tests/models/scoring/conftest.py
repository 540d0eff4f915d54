"""Fixtures of the scoring tests: small models with random weights, none of which is loaded yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagemill.models.loading import pipeline_cache
from imagemill.models.scoring import recovery
from tests.conftest import made_once
from tests.models.tiny.scorers import save_scorer


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Saves a tiny model by its name (tests.models.tiny.scorers.MAKERS) and returns its folder."""

    def find(name: str) -> str:
        return str(
            made_once(tmp_path_factory, f"scorer-{name}", lambda folder: save_scorer(name, folder) and None) / name
        )

    return find


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model is resident, and no batch was ever too large."""
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    monkeypatch.setattr(recovery, "_fits", {})
