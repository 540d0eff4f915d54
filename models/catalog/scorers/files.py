"""Files of a scorer's model: what its config.json says it can do, and whether its weights are safetensors."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagemill.data.config.judging.scorers import ClassifyScorer, ModelScorer, SimilarityScorer
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.scorers.entries import ScorerEntry
from imagemill.models.catalog.source import Locator, ModelSource

CONFIG = "config.json"
INDEX = "model_index.json"

MAX_CONFIG_BYTES = 4 * 2**20
"""A longer one is not read: one of a classifier of 20,000 labels has 2 MB."""

MAX_LISTED = 20
"""Labels that a message lists."""


def check_folder(field: str, name: str, folder: Path) -> None:
    """Raises RecipeError where a folder has no model of transformers with safetensors."""
    if not folder.is_dir():
        raise RecipeError(f"{field} is {shown(name)}, a file: name the folder that save_pretrained() wrote.")
    if (folder / INDEX).is_file():
        raise RecipeError(
            f"{field} is {shown(name)}, a pipeline that generates images ({INDEX}); a scorer is a model of "
            "transformers, such as a CLIP, a SigLIP or an image classifier."
        )
    if not (folder / CONFIG).is_file():
        raise UnknownModel(f"{field} is {shown(name)}, but {shown_path(folder)} has no {CONFIG}.")
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(
        file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".h5", ".msgpack")
    )
    if not pickled:
        raise RecipeError(f"{field} is {shown(name)}, but {shown_path(folder)} has no .safetensors file.")
    source, target = (json.dumps(text, ensure_ascii=False) for text in (str(folder), f"{folder}-safetensors"))
    code = f"from transformers import AutoModel as M; M.from_pretrained({source}).save_pretrained({target})"
    raise RecipeError(
        f"{field} is {shown(name)}, which has only {shown(pickled[0])}. To open such a file can run its code, so "
        "imagemill loads safetensors alone. If you trust it, convert the model, copy its other .json and .txt files, "
        f"and name the new folder: python -c {shlex.quote(code)}"
    )


def read_settings(field: str, name: str, source: ModelSource, locator: Locator) -> Mapping[str, Any]:
    """A model's config.json; a repository's is downloaded. Raises RecipeError and UnknownModel, naming the field."""
    path = source.file(field, CONFIG, locator.cache_dir)
    with open(path, "rb") as file:
        content = file.read(MAX_CONFIG_BYTES + 1)
    try:
        settings = json.loads(content) if len(content) <= MAX_CONFIG_BYTES else None
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict) or not isinstance(settings.get("model_type"), str):
        raise RecipeError(f"{field} is {shown(name)}, whose {CONFIG} names no model_type: no model of transformers.")
    return settings


def check_settings(
    field: str, section: ModelScorer, entry: ScorerEntry | None, settings: Mapping[str, Any] | None
) -> None:
    """Raises RecipeError where the model cannot do what the section asks of it.

    ``settings``: its config.json; None for a repository in the catalog, of which no file is needed before it is loaded.
    """
    if isinstance(section, SimilarityScorer) and section.against != "source":
        has_texts = "text_config" in settings if settings else entry is None or entry.texts
        if not has_texts:
            raise RecipeError(
                f"{field}.against is {section.against!r}, but {shown(section.model)} reads no texts: set against to "
                "source, or name a model with a text encoder, such as a CLIP or a SigLIP."
            )
    if isinstance(section, ClassifyScorer):
        labels = _labels(settings) if settings else entry.labels if entry else []
        # The worker checks it again, where nothing is known here.
        if labels and section.label not in labels:
            more = ", ..." if len(labels) > MAX_LISTED else ""
            raise RecipeError(
                f"{field}.label is {shown(section.label)}; the labels of {shown(section.model)}: "
                f"{', '.join(map(shown, labels[:MAX_LISTED]))}{more}."
            )


def _labels(settings: Mapping[str, Any]) -> list[str]:
    """Labels in the order of their numbers; those that transformers makes up where the config names none."""
    names = settings.get("id2label")
    if isinstance(names, dict):
        return [str(names[number]) for number in sorted(names, key=lambda text: (len(text), text))]
    count = settings.get("num_labels", 2)
    return [f"LABEL_{number}" for number in range(count if isinstance(count, int) else 2)]
