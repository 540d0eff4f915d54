"""What a step draws with: a model that this project loads, or one behind an API. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

from models.api_spec import ApiSpec
from models.spec import ModelSpec

Model = ModelSpec | ApiSpec


def loaded_here(models: Iterable[Model]) -> list[ModelSpec]:
    """Those that need a worker."""
    return [model for model in models if isinstance(model, ModelSpec)]
