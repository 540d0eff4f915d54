"""Similarities are cosines of embeddings as transformers gives them, and do not depend on an image's neighbours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written
from tests.models.tiny.scorers import TEXT_LENGTH

FolderOf = Callable[[str], str]

PROMPTS = ["a fox", "a kite at dusk", "a ring", "a star on a very long text of many words", "x"]


def oracle(folder: str, images: list, texts: list[str] = []) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: B006
    """Unit vectors of images and texts, each embedded alone by transformers itself."""
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    has_texts = hasattr(model, "get_text_features")
    embed = model.get_image_features if has_texts else model
    rows, words = [], []
    with torch.inference_mode():
        for image in images:
            rows.append(embed(pixel_values=processor(image, return_tensors="pt").pixel_values).pooler_output[0])
        tokenizer = AutoTokenizer.from_pretrained(folder) if texts else None
        for text in texts:
            tokens = tokenizer(text, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt")
            names = ["input_ids"] if model.config.model_type == "siglip" else ["input_ids", "attention_mask"]
            words.append(model.get_text_features(**{name: tokens[name] for name in names}).pooler_output[0])
    unit = [
        torch.nn.functional.normalize(torch.stack(found), dim=-1) if found else torch.empty(0)
        for found in (rows, words)
    ]
    return unit[0], unit[1]


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_against_text_is_the_cosine_of_image_and_text(name: str, folder_of: FolderOf, tmp_path: Path):
    folder = folder_of(name)
    spec = scorers(fits={"kind": "similarity", "model": folder, "batch_size": 2})["fits"]
    images = [noise(number) for number in range(len(PROMPTS))]
    asked = [request(spec, ref, text) for ref, text in zip(stage(tmp_path / "staged", images), PROMPTS, strict=True)]
    job = make_job(tmp_path, (spec, asked))
    report = score(job, silent)
    rows, words = oracle(folder, images, PROMPTS)
    expected = (rows * words).sum(dim=-1).tolist()
    found = written(job)
    assert [found[one.id].score for one in asked] == pytest.approx(expected, abs=6e-5)
    assert (report.scored, report.reused, dict(report.failed)) == (5, 0, {})
    assert max(expected) - min(expected) > 0.05


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_against_source_is_the_cosine_of_edit_and_source(name: str, folder_of: FolderOf, tmp_path: Path):
    folder = folder_of(name)
    spec = scorers(keeps={"kind": "similarity", "model": folder, "against": "source"})["keeps"]
    edits, sources = [noise(number) for number in range(3)], [noise(number, (64, 64)) for number in range(10, 13)]
    refs, from_refs = stage(tmp_path / "staged", edits), stage(tmp_path / "staged", sources, first=10)
    asked = [request(spec, ref, source=source) for ref, source in zip(refs, from_refs, strict=True)]
    same = request(spec, refs[0], source=refs[0])
    job = make_job(tmp_path, (spec, [*asked, same]))
    score(job, silent)
    rows, others = oracle(folder, edits)[0], oracle(folder, sources)[0]
    found = written(job)
    assert [found[one.id].score for one in asked] == pytest.approx((rows * others).sum(dim=-1).tolist(), abs=6e-5)
    assert found[same.id].score == 1.0


def test_against_direction_is_the_cosine_of_the_changes_of_image_and_text(folder_of: FolderOf, tmp_path: Path):
    folder = folder_of("clip")
    spec = scorers(turns={"kind": "similarity", "model": folder, "against": "direction"})["turns"]
    edit, source = noise(1), noise(2)
    refs = stage(tmp_path / "staged", [edit, source])
    asked = request(spec, refs[0], "a red fox", source=refs[1], before="a fox")
    unchanged_image = request(spec, refs[1], "a red fox", source=refs[1], before="a fox")
    unchanged_text = request(spec, refs[0], "a fox", source=refs[1], before="a fox")
    job = make_job(tmp_path, (spec, [asked, unchanged_image, unchanged_text]))
    score(job, silent)
    rows, words = oracle(folder, [edit, source], ["a red fox", "a fox"])
    expected = torch.nn.functional.cosine_similarity(rows[0] - rows[1], words[0] - words[1], dim=0)
    found = written(job)
    assert found[asked.id].score == pytest.approx(float(expected), abs=6e-5)
    assert [found[one.id].score for one in (unchanged_image, unchanged_text)] == [0.0, 0.0]


def test_a_score_does_not_depend_on_the_batch_size_or_on_neighbours(folder_of: FolderOf, tmp_path: Path):
    found = []
    for size, count in ((1, 1), (3, 7), ("auto", 7)):
        spec = scorers(fits={"kind": "similarity", "model": folder_of("clip"), "batch_size": size})["fits"]
        folder = tmp_path / f"{size}"
        refs = stage(folder / "staged", [noise(number) for number in range(count)])
        asked = [request(spec, ref, PROMPTS[number % 5]) for number, ref in enumerate(refs)]
        job = make_job(folder, (spec, asked))
        score(job, silent)
        found.append(written(job)[asked[0].id].score)
    assert len(set(found)) == 1


def test_the_size_of_a_batch_is_no_part_of_a_scorers_identity(folder_of: FolderOf):
    small, large = (
        scorers(fits={"kind": "similarity", "model": folder_of("clip"), "batch_size": size})["fits"] for size in (1, 8)
    )
    assert small.facts().id == large.facts().id


def test_a_line_of_pixels_is_scored_by_its_middle(folder_of: FolderOf, tmp_path: Path):
    spec = scorers(keeps={"kind": "similarity", "model": folder_of("clip"), "against": "source"})["keeps"]
    line = noise(1, (20_000, 2))
    refs = stage(tmp_path / "staged", [line, line.crop((9_984, 0, 10_016, 2))])
    asked = request(spec, refs[0], source=refs[1])
    job = make_job(tmp_path, (spec, [asked]))
    score(job, silent)
    assert written(job)[asked.id].score == 1.0
