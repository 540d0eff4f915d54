"""Files of a scorer's model on this machine: a repository's are downloaded into the Hub's cache, at their commit.

transformers is then given a folder, never a repository's name: it would take a folder of that name in the working
directory, and load adapters from repositories that no recipe names.
"""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import snapshot_download

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.models.catalog.source import ModelSource

NEEDED = ("*.json", "*.txt", "*.model", "*.jinja", "model.safetensors", "model-*-of-*.safetensors")
"""At the top of a repository."""

IGNORED = ("*/*", "adapter_config.json")


def scorer_folder(name: str, source: ModelSource, cache_dir: str | None) -> Path:
    """The folder with the model's files. Raises RecipeError where it has an adapter, and what a download raises.

    ``name``: of the model, in messages.
    """
    if source.commit is None:
        folder = Path(source.location)
    else:
        downloaded = snapshot_download(
            source.location,
            revision=source.commit,
            cache_dir=cache_dir,
            token=os.environ.get("HF_TOKEN"),
            allow_patterns=[*NEEDED],
            ignore_patterns=[*IGNORED],
        )
        folder = Path(downloaded)
    if (folder / "adapter_config.json").exists():
        raise RecipeError(
            f"the model {shown(name)} comes with an adapter (adapter_config.json), which names another model to load: "
            "merge the adapter into its model, and name the new folder."
        )
    return folder
