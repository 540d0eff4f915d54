"""A classifier's score is the probability of its label."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written

FolderOf = Callable[[str], str]


def probabilities(folder: str, tmp_path: Path, label: str) -> tuple[list[float | None], torch.Tensor]:
    """The label's scores of two images, and their logits by transformers."""
    spec = scorers(nsfw={"kind": "classify", "model": folder, "label": label})["nsfw"]
    images = [noise(1), noise(2)]
    asked = [request(spec, ref) for ref in stage(tmp_path / "staged", images)]
    job = make_job(tmp_path, (spec, asked))
    score(job, silent)
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.inference_mode():
        logits = [model(processor(image, return_tensors="pt").pixel_values).logits[0] for image in images]
    found = written(job)
    return [found[one.id].score for one in asked], torch.stack(logits)


def test_a_score_is_the_softmax_of_the_labels(folder_of: FolderOf, tmp_path: Path):
    found, logits = probabilities(folder_of("classifier"), tmp_path, "nsfw")
    assert found == pytest.approx(logits.softmax(dim=-1)[:, 1].tolist(), abs=6e-5)


def test_a_model_of_several_labels_at_once_gives_each_its_own_probability(folder_of: FolderOf, tmp_path: Path):
    folder = Path(shutil.copytree(folder_of("classifier"), tmp_path / "several"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "problem_type": "multi_label_classification"}))
    found, logits = probabilities(str(folder), tmp_path, "other")
    assert found == pytest.approx(logits.sigmoid()[:, 2].tolist(), abs=6e-5)
