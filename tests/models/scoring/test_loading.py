"""A scorer's folder is loaded as data, whole, or refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagemill.data.errors import RecipeError
from imagemill.models.loading.scorer_cache import resident_scorer
from tests.models.jobs import silent
from tests.models.loading.test_no_code import own_classes, pickles_beside_the_weights
from tests.models.score_jobs import scorers

FolderOf = Callable[[str], str]


def test_a_folder_that_lacks_a_tensor_is_refused(folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    with pytest.raises(RecipeError, match="lack some of its tensors"):
        resident_scorer(spec, silent)


@pytest.mark.parametrize("files", ["tokenizer*", "preprocessor_config.json"])
def test_a_folder_without_its_preparation_of_inputs_is_refused(files: str, folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip"))
    for path in folder.glob(files):
        path.unlink()
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    with pytest.raises(RecipeError, match=r"^the model 'clip' cannot be loaded from "):
        resident_scorer(spec, silent)


def test_a_model_with_code_is_refused_and_none_of_it_runs(
    folder_of: FolderOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, marker = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip")), tmp_path / "ran"
    own_classes(folder, marker)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mine"}))
    # The hub's setting that allows it, as another project on the machine may have it.
    monkeypatch.setenv("HF_ENABLE_TRUST_REMOTE_CODE", "1")
    with pytest.raises(RecipeError, match="comes with code"):
        resident_scorer(scorers(fits={"kind": "similarity", "model": str(folder)})["fits"], silent)
    assert not marker.exists()


def test_known_classes_are_loaded_without_the_code_beside_them(folder_of: FolderOf, tmp_path: Path):
    folder, marker = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip")), tmp_path / "ran"
    pickles_beside_the_weights(folder, marker)
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    own = resident_scorer(scorers(fits={"kind": "similarity", "model": folder_of("clip")})["fits"], silent).model
    found = resident_scorer(spec, silent).model
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), found.parameters(), strict=True))
    assert not marker.exists()


def test_an_adapter_is_refused_since_it_names_another_model(folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("clip"), tmp_path / "clip"))
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/other"}))
    spec = scorers(fits={"kind": "similarity", "model": str(folder)})["fits"]
    with pytest.raises(RecipeError, match="comes with an adapter"):
        resident_scorer(spec, silent)
