"""Specification of a model behind an images API. The server decides which weights it has: a name is all that is known.

Imports neither torch nor httpx.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imagemill.data.config.api import Api
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.data.records import ModelFacts
from imagemill.models.catalog.api_key import check_key
from imagemill.models.catalog.limits import Defaults, Limits
from imagemill.models.catalog.source import ModelSource

SIZE_MULTIPLE = 8
"""Of pixels. A server that is stricter refuses the request."""

_ALLOWED = frozenset(
    {"backend", "api", "model", "revision", "width", "height", "steps", "guidance_scale", "negative_prompt"}
    | {"images_per_prompt", "seed", "batch_size", "instructions", "multi_turn", "references"}
)
"""Fields of a section that go into a request, or do not concern how the model generates."""


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """A model behind an API, and how a step calls it. Has no key: that is read where it is used."""

    name: str
    """As the API lists it."""
    revision: str | None
    """The user's label for the weights that are served; the API does not report it."""
    api: Api
    is_edit: bool
    licence: str = "unknown"
    defaults: Defaults = field(default_factory=Defaults)
    limits: Limits = field(default_factory=lambda: Limits(size_multiple=SIZE_MULTIPLE, negative_prompt=True))
    """A model that takes no negative prompt refuses the request."""

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """None: nothing is loaded here."""
        return ()

    @property
    def identity(self) -> dict[str, Any]:
        """All of the model that decides pixels: its name, the user's revision, and what every request contains."""
        revision = {"revision": self.revision} if self.revision else {}
        return {"backend": "openai", "model": self.name, **revision, **self.api.identity()}

    def facts(self) -> ModelFacts:
        """Facts for planning."""
        return ModelFacts(
            name=self.name,
            revision=self.revision,
            identity=self.identity,
            width=self.defaults.width,
            height=self.defaults.height,
            steps=self.defaults.steps,
            guidance_scale=self.defaults.guidance_scale,
            size_multiple=self.limits.size_multiple,
            negative_prompt=self.limits.negative_prompt,
        )


def resolve_api(step: str, section: Generate | Edit) -> ApiSpec:
    """The model that a section with `backend: openai` names. ``step`` is where the recipe has it.

    Raises RecipeError, naming the field.
    """
    field, defaults = f"recipe.{step}", type(section)()
    if not section.api.base_url:
        raise RecipeError(
            f"{field}.backend is 'openai', but {field}.api.base_url is empty: give the API's address, for instance "
            "http://localhost:8000/v1."
        )
    check_key(f"{field}.api", section.api)
    if section.model == defaults.model:
        raise RecipeError(
            f"{field}.model is {shown(section.model)}, the small model that ships with imagemill: give the name under "
            "which "
            f"the API at {section.api.base_url} serves its model."
        )
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in _ALLOWED and value != getattr(defaults, name):
            printed = value if isinstance(value, str | int | float | bool) else "set"
            raise RecipeError(
                f"{field}.{name} is {shown(printed)}, but {field}.backend is 'openai', whose requests have no such "
                "setting: "
                f"leave it out, or give what this server understands in {field}.api.extra."
            )
    if (getattr(section, "width", None) is None) != (getattr(section, "height", None) is None):
        raise RecipeError(f"{field} has only one of width and height: an API takes both, or neither.")
    return ApiSpec(section.model, section.revision, section.api, isinstance(section, Edit))


def refuse_api(step: str, section: Generate | Edit) -> None:
    """Raises RecipeError where a section has settings of an API but its model is loaded here."""
    if section.api != Api():
        raise RecipeError(
            f"recipe.{step}.api is set, but recipe.{step}.backend is 'diffusers': set backend to 'openai', or leave "
            "api out."
        )
