"""The recipe in a manifest from someone else asks no host, and opens no file, that the user has not named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import parse_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.api_key import HOSTS
from imagemill.tasks.foreign_recipe import check_foreign_recipe


def recipe(base_url: str | None = None, **more: Any) -> Recipe:
    api = {"backend": "openai", "api": {"base_url": base_url}} if base_url else {}
    return parse_recipe({"name": "foreign", "prompts": "p.txt", "generate": {"model": "m", **api}, **more})


@pytest.mark.parametrize(
    "base_url",
    [
        "https://evil.example/v1",
        "http://127.0.0.1:8000/v1",
        "http://169.254.169.254/latest",
        "https://api.openai.com.evil.example/v1",
        "http://good.example/v1",
    ],
)
def test_an_api_that_only_the_manifest_names_is_not_asked(base_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(HOSTS, "https://good.example, http://other.example:8000")
    with pytest.raises(RecipeError, match=f"which only the manifest names: set {HOSTS}="):
        check_foreign_recipe(recipe(base_url))


@pytest.mark.parametrize(
    "base_url", ["https://api.openai.com/v1", "https://good.example/v1", "http://other.example:8000/v1"]
)
def test_an_api_that_the_user_has_named_may_be_asked(base_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(HOSTS, "https://Good.example, http://other.example:8000")
    check_foreign_recipe(recipe(base_url))


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/hostname", "missing.yaml"])
def test_a_models_file_is_a_yaml_file(path: str):
    with pytest.raises(RecipeError, match="which is no models file"):
        check_foreign_recipe(recipe(models_file=path))


def test_a_cache_of_models_is_one_already(tmp_path: Path):
    with pytest.raises(RecipeError, match="which is no cache of models on this machine"):
        check_foreign_recipe(recipe(cache_dir=str(tmp_path)))
    (tmp_path / "models--org--name").mkdir()
    check_foreign_recipe(recipe(cache_dir=str(tmp_path)))
