"""A model behind an images API, as a recipe names it. What its weights are is the server's affair: its name is all.

Imports neither torch nor httpx.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagemill.data.config.api import Api
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import ModelFacts
from imagemill.models.catalog.lora import LoraFile

MULTIPLE = 8
"""Of pixels; what a server wants beyond that, its refusal says."""

_ALLOWED = frozenset(
    {"backend", "api", "model", "revision", "width", "height", "steps", "guidance_scale", "negative_prompt"}
    | {"images_per_prompt", "seed", "batch_size", "instructions", "multi_turn"}
)
"""Fields of a section that an API can be asked for, or that have nothing to do with how a model generates."""


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """A model behind an API, and how a step calls it. Has no key: that is read where it is used."""

    name: str
    """As the API lists it."""
    revision: str | None
    """What the person calls the weights that are served; the API does not tell."""
    api: Api
    is_edit: bool
    licence: str = "unknown"
    outputs: str = "unknown"
    max_batch: int | None = None
    loras: tuple[LoraFile, ...] = ()
    size_multiple: int = MULTIPLE
    negative_prompt: bool = True
    """Sent where it is given; a model that knows none refuses it."""
    uses_guidance: bool = True
    guidance_scale: float | None = None
    min_steps: int = 1

    @property
    def source(self) -> str:
        """Where the model is."""
        return self.api.base_url

    @property
    def identity(self) -> dict[str, Any]:
        """All of the model that decides pixels: its name, the person's revision, and what is sent with each request."""
        revision = {"revision": self.revision} if self.revision else {}
        return {"backend": "openai", "model": self.name, **revision, **self.api.identity()}

    def facts(self) -> ModelFacts:
        """What planning needs to know."""
        return ModelFacts(
            name=self.name,
            revision=self.revision,
            identity=self.identity,
            width=None,
            height=None,
            steps=None,
            guidance_scale=None,
            size_multiple=self.size_multiple,
            negative_prompt=self.negative_prompt,
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
    if section.model == defaults.model:
        raise RecipeError(
            f"{field}.model is {section.model!r}, which is the small model that imagemill generates with itself: give the "
            f"name under which the API at {section.api.base_url} serves its model."
        )
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name not in _ALLOWED and value != getattr(defaults, name):
            shown = value if isinstance(value, str | int | float | bool) else "set"
            raise RecipeError(
                f"{field}.{name} is {shown!r}, but {field}.backend is 'openai', which cannot be asked for it: leave it "
                f"out, or give what this server understands in {field}.api.extra."
            )
    if (getattr(section, "width", None) is None) != (getattr(section, "height", None) is None):
        raise RecipeError(f"{field} has only one of width and height: an API takes both, or neither.")
    return ApiSpec(section.model, section.revision, section.api, isinstance(section, Edit))


def refuse_api(step: str, section: Generate | Edit) -> None:
    """Raises RecipeError where a section has settings of an API and generates with a model of its own."""
    if section.api != Api():
        raise RecipeError(
            f"recipe.{step}.api is set, but recipe.{step}.backend is 'diffusers': set backend to 'openai', or leave "
            "api out."
        )
