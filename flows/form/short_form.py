"""Short form of a recipe: the few fields that most datasets need, and the dotted fields of the recipe that they set.

A field that is empty sets nothing. A base recipe supplies the rest; overrides have the last word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from imagemill.data.config.judging.names import given_scores
from imagemill.data.config.load import load_recipe, read_yaml, set_field
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.shipped import find_recipe
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.entries import Catalog, read_catalog

BUNDLED_SCORER, SCORER = "bundled-clip", "clip-vit-large-patch14"
"""Scorers that choose among candidates where the recipe has none: images of the bundled model, and all others."""

DEFAULT_MODEL = Generate.model_fields["model"].default


@dataclass(frozen=True)
class ShortForm:
    """The fields as the user gave them; what they may be is checked where the recipe is loaded."""

    prompts: Any = None
    model: Any = None
    width: Any = None
    height: Any = None
    images_per_prompt: Any = None
    instructions: Any = None
    seed: Any = None
    candidates: Any = None
    output: Any = None
    recipe: Any = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """The fields that are not empty, as the user gave them."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value for name, value in fields.items() if _is_given(value)}

    def load(self) -> Recipe:
        """The recipe. Raises RecipeError that names the form's fields."""
        values = {**self._set, **(self.overrides or {})}
        try:
            return load_recipe(self._base, values)
        except RecipeError as error:
            raise self.explain(error) from None

    def explain(self, error: RecipeError) -> RecipeError:
        """The error with the recipe's fields under the names that they have in the form."""
        text = str(error)
        try:
            places = self._places
        except RecipeError:
            # It is about the base recipe itself.
            return error
        for dotted, name in places:
            # Where a base recipe has a field, the form does so only if it was given.
            if dotted in (self.overrides or {}) or (self._base and not _is_given(getattr(self, name))):
                continue
            parts = dotted.split(".")
            # `recipe.edit.instructions is ...`, and what a section's fields are together: `recipe.edit: instructions
            # lists ...`.
            written = [".".join(["recipe", *parts])]
            written += [".".join(["recipe", *parts[:at]]) + ": " + ".".join(parts[at:]) for at in range(len(parts))]
            text = re.sub(rf"\b({'|'.join(map(re.escape, written))})(?![\w-])", name, text)
        return type(error)(text)

    @cached_property
    def _base(self) -> Mapping[str, Any]:
        """The base recipe's fields."""
        if not _is_given(self.recipe):
            return {}
        if isinstance(self.recipe, Mapping):
            return self.recipe
        if not isinstance(self.recipe, str | Path):
            raise RecipeError(
                f"recipe is {shown(self.recipe)}: it must be a mapping of a recipe's fields, the path of a YAML file, "
                "or the name of a recipe that comes with imagemill."
            )
        return read_yaml(find_recipe(Path(self.recipe)))

    @cached_property
    def _known(self) -> dict[str, Any]:
        """The base recipe with the overrides, to see which steps it has."""
        known = dict(self._base)
        for dotted, value in (self.overrides or {}).items():
            set_field(known, dotted, value)
        return known

    @cached_property
    def _catalog(self) -> Catalog:
        file = self._known.get("models_file")
        return read_catalog(file if isinstance(file, str) else None)

    @cached_property
    def _steps(self) -> tuple[str | None, list[str]]:
        """Places of the section that generates, if there is one, and of those that edit."""
        known, steps = self._known, self._known.get("steps")
        if isinstance(steps, list) and steps:
            kinds = [(number, step) for number, step in enumerate(steps) if isinstance(step, Mapping)]
            generates = [f"steps.{number}.generate" for number, step in kinds if "generate" in step]
            return next(iter(generates), None), [f"steps.{number}.edit" for number, step in kinds if "edit" in step]
        generate = "generate" if known.get("generate") is not None else None
        edits = ["edit"] if known.get("edit") is not None else []
        # A base recipe without steps judges the images that the rows supply.
        if not any(self._base.get(name) for name in ("generate", "edit", "given", "scorers", "duplicates", "splits")):
            key = self._key(self.model)
            if key is not None and key not in self._catalog.able("text-to-image"):
                # A model that only edits works on the images that the rows supply.
                return generate, ["edit"]
            generate = "generate"
        if _is_given(self.instructions) and not edits:
            edits = ["edit"]
        return generate, edits

    @cached_property
    def _places(self) -> list[tuple[str, str]]:
        """(Dotted field of the recipe, field of the form that sets it)."""
        generate, edits = self._steps
        first = generate or next(iter(edits), "generate")
        count = "images_per_prompt" if first.endswith("generate") else "images_per_instruction"
        places = [("prompts", "prompts"), ("output", "output"), (f"{first}.model", "model")]
        places += [(f"{first}.{side}", side) for side in ("width", "height")]
        places += [(f"{first}.{count}", "images_per_prompt"), (f"{first}.select.of", "candidates")]
        places += [(f"{step}.seed", "seed") for step in (generate, *edits) if step is not None]
        places += [(f"{edit}.instructions", "instructions") for edit in edits[:1]]
        return places

    @cached_property
    def _set(self) -> dict[str, Any]:
        """Dotted field of the recipe -> its value, of the fields that the user gave. Raises RecipeError."""
        generate, edits = self._steps
        values: dict[str, Any] = {}
        if self._base and (_is_given(self.prompts) or _is_given(self.output)):
            # A recipe's name and folder are its own prompts': other prompts would take the place of its rows.
            values |= {"name": "", "output": ""}
        for step in (generate, *edits):
            if step is not None and self._at(step) is None:
                values[step] = {}
        values |= self._size(generate)
        for dotted, name in self._places:
            if _is_given(value := getattr(self, name)):
                values[dotted] = [value] if name == "instructions" and isinstance(value, str) else value
        return values | self._edit_model(generate, edits) | self._choice(generate or next(iter(edits), None))

    def _size(self, generate: str | None) -> dict[str, Any]:
        given = [side for side in ("width", "height") if _is_given(getattr(self, side))]
        if not given:
            return {}
        if generate is None:
            raise RecipeError(
                f"{given[0]} is given, but nothing is generated: an edit has the size of the image that it edits. "
                f"Leave out {' and '.join(given)}."
            )
        return {f"{generate}.aspect_ratio": None} if self._section(generate).get("aspect_ratio") else {}

    def _edit_model(self, generate: str | None, edits: list[str]) -> dict[str, Any]:
        """The model of an edit that only the form has: the one that generates. Raises RecipeError if it cannot edit."""
        if not _is_given(self.instructions):
            return {}
        if len(edits) > 1:
            raise RecipeError(
                f"instructions is given, but the recipe edits {len(edits)} times: name one of them in overrides, such "
                f'as {{"{edits[0]}.instructions": ["make it snow"]}}.'
            )
        edit = edits[0]
        if generate is None or self._section(edit).get("model"):
            return {}
        model = self.model if _is_given(self.model) else self._section(generate).get("model") or DEFAULT_MODEL
        able, key = self._catalog.able("instruction"), self._key(model)
        if key is not None and key not in able:
            raise RecipeError(
                f"instructions is given, but model is {shown(model)}, which edits nothing by instruction: name the "
                f'model for edits in overrides, such as {{"{edit}.model": "flux.1-kontext-dev"}}. '
                f"Of the catalog these can: {', '.join(able)}."
            )
        return {f"{edit}.model": model}

    def _choice(self, step: str | None) -> dict[str, Any]:
        """The scorer that chooses among the candidates of a step. Raises RecipeError where that is open."""
        if not _is_given(self.candidates) or step is None:
            return {}
        section, scorers = self._section(step), self._known.get("scorers")
        kept = self.images_per_prompt if _is_given(self.images_per_prompt) else 1
        if isinstance(kept, int) and isinstance(self.candidates, int) and 0 < self.candidates < kept:
            raise RecipeError(
                f"candidates is {self.candidates} and images_per_prompt is {kept}: candidates is how many images of a "
                f"prompt are generated, and images_per_prompt how many of them stay; set candidates to {kept} or more."
            )
        select = section.get("select")
        if isinstance(select, Mapping) and (select.get("best") is not None or select.get("where")):
            return {}
        scores = given_scores(scorers) if isinstance(scorers, Mapping) else []
        if scores:
            if len(scores) > 1:
                names = ", ".join(shown(name) for name in scores)
                raise RecipeError(
                    f"candidates is given, and the recipe has the scorers {names}: say in overrides which of them "
                    f'chooses, such as {{"{step}.select.best": "{scores[0]}"}}.'
                )
            return {f"{step}.select.best": scores[0]}
        if not step.endswith("generate"):
            raise RecipeError(
                "candidates is given, but no scorer says which edit is the best: give a base recipe with scorers, such "
                "as curated-edits."
            )
        model = self.model if _is_given(self.model) else section.get("model") or DEFAULT_MODEL
        scorer = {"kind": "similarity", "model": BUNDLED_SCORER if self._key(model) == DEFAULT_MODEL else SCORER}
        if self._steps[1]:
            # Edited images would be compared with target_prompt, which few prompts have.
            scorer["text"] = "prompt"
        return {"scorers": {"fits": scorer}, f"{step}.select.best": "fits"}

    def _section(self, place: str) -> Mapping[str, Any]:
        """The section of a step in the base recipe, overrides included; empty if it has none."""
        found = self._at(place)
        return found if isinstance(found, Mapping) else {}

    def _at(self, place: str) -> Any:
        found: Any = self._known
        for part in place.split("."):
            found = found[int(part)] if isinstance(found, list) else found.get(part)
        return found

    def _key(self, model: Any) -> str | None:
        """The catalog's key of a model; None if it has none."""
        name = model if _is_given(model) else DEFAULT_MODEL
        return (self._catalog.key_of(name) or self._catalog.key_of_repository(name)) if isinstance(name, str) else None


def _is_given(value: Any) -> bool:
    """True if a field has a value: forms send empty texts, lists and mappings for untouched ones."""
    return bool(value.strip()) if isinstance(value, str) else value is not None and value not in ([], {})
