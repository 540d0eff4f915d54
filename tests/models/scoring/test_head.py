"""A head is the chain of linear layers in its file, on the model's unit vector; one that does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from imagemill.data.errors import RecipeError
from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written
from tests.models.scoring.test_similarity import oracle
from tests.models.tiny.scorers import head

FolderOf = Callable[[str], str]


def looks(folder_of: FolderOf, file: Path, tmp_path: Path) -> tuple[list[float | None], torch.Tensor]:
    """The head's scores of two images, and the images' unit vectors."""
    spec = scorers(looks={"kind": "head", "model": folder_of("clip"), "head": str(file)})["looks"]
    images = [noise(1), noise(2)]
    asked = [request(spec, ref) for ref in stage(tmp_path / "staged", images)]
    job = make_job(tmp_path, (spec, asked))
    score(job, silent)
    found = written(job)
    return [found[one.id].score for one in asked], oracle(folder_of("clip"), images)[0]


def test_a_head_is_its_layers_in_the_order_of_their_numbers(folder_of: FolderOf, tmp_path: Path):
    file = head(tmp_path / "head", (16, 8, 4, 4, 4, 4, 1))
    tensors, (found, vectors) = load_file(file), looks(folder_of, file, tmp_path)
    for number in (0, 2, 4, 6, 8, 10):
        vectors = vectors @ tensors[f"layers.{number}.weight"].T + tensors[f"layers.{number}.bias"]
    assert found == pytest.approx(vectors[:, 0].tolist(), abs=1e-4)


def test_the_files_metadata_name_activations(folder_of: FolderOf, tmp_path: Path):
    file = head(tmp_path / "head", activation="relu", output="sigmoid")
    tensors, (found, vectors) = load_file(file), looks(folder_of, file, tmp_path)
    hidden = torch.relu(vectors @ tensors["layers.0.weight"].T + tensors["layers.0.bias"])
    expected = torch.sigmoid(hidden @ tensors["layers.2.weight"].T + tensors["layers.2.bias"])
    assert found == pytest.approx(expected[:, 0].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("widths", "words"),
    [
        ((12, 1), "has the shape (1, 12), and the model's embeddings have 16 values"),
        ((16, 8, 2), "it gives 2 values, and a score is one"),
    ],
)
def test_a_head_of_another_model_is_refused(widths: tuple[int, ...], words: str, folder_of: FolderOf, tmp_path: Path):
    with pytest.raises(RecipeError) as raised:
        looks(folder_of, head(tmp_path / "head", widths), tmp_path)
    assert "recipe.scorers.looks.head is" in str(raised.value)
    assert words in str(raised.value)


def test_a_file_with_other_tensors_is_no_head(folder_of: FolderOf, tmp_path: Path):
    file = head(tmp_path / "head")
    save_file({**load_file(file), "norm.running_mean": torch.zeros(8)}, file)
    with pytest.raises(RecipeError, match=r"no head for this model: it has 'norm\.running_mean' too"):
        looks(folder_of, file, tmp_path)


def test_an_unknown_activation_is_refused_with_those_there_are(folder_of: FolderOf, tmp_path: Path):
    with pytest.raises(RecipeError, match=r"activation 'swish'; allowed are none, relu, gelu, sigmoid, tanh\."):
        looks(folder_of, head(tmp_path / "head", activation="swish"), tmp_path)
