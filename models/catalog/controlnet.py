"""The ControlNet that a recipe names: which files it is, exactly. Imports no torch: the flow's process asks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagemill.data.config.adapters import Controlnet
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.model_files import hash_model

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class ControlnetFiles:
    """One ControlNet, known exactly, and how strongly it counts. Travels to the workers."""

    source: str
    """A local folder, or an 'org/name' repository."""
    subfolder: str | None
    revision: str | None
    """The commit of a repository; None for a folder."""
    files: str | None
    """The hash of a folder's files; None for a repository."""
    kind: str
    """Name of its class in diffusers."""
    scale: float
    start: float
    end: float
    mode: int | None

    @property
    def weights(self) -> dict[str, Any]:
        """Which weights it has. Where a folder lies does not count."""
        if self.files:
            return {"files": self.files}
        folder = {"subfolder": self.subfolder} if self.subfolder else {}
        return {"repository": self.source, "revision": self.revision, **folder}

    @property
    def identity(self) -> dict[str, Any]:
        """All of it that decides pixels."""
        mode = {} if self.mode is None else {"mode": self.mode}
        return {**self.weights, "scale": self.scale, "start": self.start, "end": self.end, **mode}


def find_controlnet(
    field: str,
    asked: Controlnet,
    kind: str,
    commit_of: Callable[[str, str | None], str],
    cache_dir: str | None,
) -> ControlnetFiles:
    """The files that a section's ``controlnet`` names.

    ``field`` is where the recipe has it; ``kind`` the class of diffusers that its pipeline generates with; ``commit_of`` as
    in models.catalog.resolve. Raises RecipeError and UnknownModel.
    """
    path = Path(asked.model).expanduser()
    commit = files = None
    if path.is_dir():
        if asked.revision:
            raise RecipeError(
                f"{field}.revision is {asked.revision!r}, but {asked.model!r} is on this machine, where it has no "
                "revisions: leave it out."
            )
        folder = path / (asked.subfolder or "")
        config = folder / "config.json"
        if not config.is_file():
            raise RecipeError(
                f"{field}.model is {asked.model!r}, but {str(folder)!r} has no config.json: give the folder that a "
                "ControlNet was saved to."
            )
        source, files = str(folder.resolve()), hash_model(folder)
    elif _REPOSITORY.fullmatch(asked.model):
        from imagemill.models.hub import fetch_file

        source = asked.model
        is_commit = _COMMIT.fullmatch(asked.revision or "")
        commit = asked.revision if is_commit else commit_of(asked.model, asked.revision)
        name = "/".join(filter(None, [asked.subfolder, "config.json"]))
        config = fetch_file(f"{field}.model", source, commit, name, cache_dir)
    else:
        raise RecipeError(
            f"{field}.model is {asked.model!r}, which is neither a folder with config.json nor an 'org/name' "
            "repository."
        )
    _check(field, asked, kind, config)
    return ControlnetFiles(
        source=source,
        subfolder=None if files else asked.subfolder,
        revision=commit,
        files=files,
        kind=kind,
        scale=asked.scale,
        start=asked.start,
        end=asked.end,
        mode=asked.mode,
    )


def _check(field: str, asked: Controlnet, kind: str, config: Path) -> None:
    """Raises RecipeError where it is none for this pipeline. Whether it fits the model is seen when both are loaded."""
    try:
        fields = json.loads(config.read_bytes())
    except ValueError as error:
        raise RecipeError(f"{field}.model is {asked.model!r}, whose config.json is not JSON: {error}.") from error
    its_kind = fields.get("_class_name") if isinstance(fields, dict) else None
    if its_kind != kind:
        raise RecipeError(
            f"{field}.model is {asked.model!r}, a {its_kind}, but the step's model generates with a {kind}: take one that "
            "was trained for it."
        )
    modes = fields.get("num_mode")
    if (asked.mode is None) != (modes is None) or (modes is not None and asked.mode >= modes):
        wants = f"wants one below {modes}" if modes is not None else "has no modes"
        raise RecipeError(f"{field}.mode is {asked.mode}, but {asked.model!r} {wants}: its card lists them.")
