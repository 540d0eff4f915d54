"""ControlNet that a recipe names, resolved to exact files. Imports no torch: the flow's process resolves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagemill.data.config.adapters import Controlnet
from imagemill.data.errors import RecipeError, one_line
from imagemill.data.messages import cut, shown, shown_path
from imagemill.models.catalog.model_files import hash_model
from imagemill.models.catalog.source import Locator, ModelSource, joined


@dataclass(frozen=True, slots=True)
class ControlnetFiles:
    """One ControlNet, known exactly, and how strongly it counts. Travels to the workers."""

    source: ModelSource
    subfolder: str | None
    """Of a repository."""
    kind: str
    """Name of its class in diffusers."""
    scale: float
    start: float
    end: float
    mode: int | None

    @property
    def weights(self) -> dict[str, Any]:
        """Identity of its weights."""
        return {**self.source.identity, **({"subfolder": self.subfolder} if self.subfolder else {})}

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels."""
        mode = {} if self.mode is None else {"mode": self.mode}
        return {**self.weights, "scale": self.scale, "start": self.start, "end": self.end, **mode}


def find_controlnet(field: str, section: Controlnet, kind: str, locator: Locator) -> ControlnetFiles:
    """The files that a step's ``controlnet`` section names.

    ``field`` is where the recipe has it; ``kind`` the diffusers class that the step's pipeline takes. Raises
    RecipeError and UnknownModel.
    """
    found = locator.locate(field, "model", section.model, section.revision, "a folder with config.json")
    subfolder = section.subfolder
    if isinstance(found, Path):
        folder = found / (subfolder or "")
        config = folder / "config.json"
        if not config.is_file():
            raise RecipeError(
                f"{field}.model is {shown(section.model)}, but {shown_path(folder)} has no config.json: give the "
                "folder that a "
                "ControlNet was saved to."
            )
        found, subfolder = ModelSource(str(folder.resolve()), files=hash_model(folder)), None
    else:
        config = found.file(f"{field}.model", joined(subfolder, "config.json"), locator.cache_dir)
    _check(field, section, kind, config)
    return ControlnetFiles(found, subfolder, kind, section.scale, section.start, section.end, section.mode)


def _check(field: str, section: Controlnet, kind: str, config: Path) -> None:
    """Raises RecipeError for another kind of model. Whether it fits the step's model turns out when both are loaded."""
    try:
        fields = json.loads(config.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"{field}.model is {shown(section.model)}, whose config.json is not JSON: {one_line(error)}."
        ) from error
    its_kind = fields.get("_class_name") if isinstance(fields, dict) else None
    if its_kind != kind:
        raise RecipeError(
            f"{field}.model is {shown(section.model)}, a {cut(str(its_kind))}, but the step's model generates with a "
            f"{kind}: "
            "take one "
            "that was trained for it."
        )
    modes = fields.get("num_mode") if isinstance(fields.get("num_mode"), int) else None
    if (section.mode is None) != (modes is None) or (modes is not None and section.mode >= modes):
        wants = f"wants one below {modes}" if modes is not None else "has no modes"
        raise RecipeError(f"{field}.mode is {section.mode}, but {shown(section.model)} {wants}: its card lists them.")
