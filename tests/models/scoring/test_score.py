"""A job scores each image once, writes each batch down before it counts, and loses one image to one fault."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imagemill.data.images.codec import Encoding
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import ImageRef
from imagemill.models.loading.scorer_cache import resident_scorer
from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written

FolderOf = Callable[[str], str]


@contextmanager
def batches(spec: Any) -> Iterator[list[int]]:
    """The number of rows of each call of the model's image tower in the block, which must have been loaded."""
    calls: list[int] = []
    tower = resident_scorer(spec, silent).model.vision_model
    hook = tower.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    yield calls
    hook.remove()


def fits(folder_of: FolderOf, **more: Any) -> Any:
    return scorers(fits={"kind": "similarity", "model": folder_of("clip"), "batch_size": 4, **more})["fits"]


def test_scorers_of_one_model_share_its_weights_and_its_embeddings(folder_of: FolderOf, tmp_path: Path):
    clip = {"kind": "similarity", "model": folder_of("clip"), "batch_size": 4}
    specs = scorers(fits=clip, keeps={**clip, "against": "source"}, turns={**clip, "against": "direction"})
    edits = stage(tmp_path / "staged", [noise(number) for number in range(4)])
    sources = stage(tmp_path / "staged", [noise(number) for number in range(4, 8)], first=4)
    asked = [
        (spec, [request(spec, edit, "a red fox", source, "a fox") for edit, source in zip(edits, sources, strict=True)])
        for spec in specs.values()
    ]
    job = make_job(tmp_path, *asked)
    with batches(specs["fits"]) as calls:
        report = score(job, silent)
    assert calls == [4, 4]
    assert report.scored == 12
    assert len(written(job)) == 12


def test_batches_are_padded_to_one_shape(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    refs = stage(tmp_path / "staged", [noise(number) for number in range(5)])
    with batches(spec) as calls:
        score(make_job(tmp_path, (spec, [request(spec, ref, "a fox") for ref in refs])), silent)
    assert calls == [4, 4]


def test_a_retried_job_scores_nothing_twice(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    refs = stage(tmp_path / "staged", [noise(number) for number in range(6)])
    asked = [request(spec, ref, "a fox") for ref in refs]
    score(make_job(tmp_path, (spec, asked[:4])), silent)
    job = make_job(tmp_path, (spec, asked))
    with batches(spec) as calls:
        report = score(job, silent)
        again = score(job, silent)
    assert calls == [4]
    assert (report.scored, report.reused, again.scored, again.reused) == (2, 4, 0, 6)
    assert len(written(job)) == 6


def test_a_batch_is_in_the_journal_before_the_next_one_is_computed(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    refs = stage(tmp_path / "staged", [noise(number) for number in range(12)])
    job = make_job(tmp_path, (spec, [request(spec, ref, "a fox") for ref in refs]))
    there: list[int] = []

    def report(event: dict[str, Any]) -> None:
        if event["kind"] == "scored":
            there.append(len(list(ScoreJournal(Path(job.journal)).read())))

    score(job, report)
    assert there == [4, 8, 12]


def test_equal_pixels_are_scored_once_whatever_their_files(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    image, folder = noise(1), tmp_path / "staged"
    [first] = stage(folder, [image])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)
    [other] = stage(folder, [Image.open(io.BytesIO(buffer.getvalue()))], Encoding("bmp"), first=1)
    assert first.sha256 != other.sha256
    asked = [request(spec, ref, "a fox") for ref in (first, other)]
    job = make_job(tmp_path, (spec, asked))
    with batches(spec) as calls:
        report = score(job, silent)
    found = written(job)
    assert (calls, report.scored, report.reused) == ([4], 1, 1)
    assert found[asked[0].id].score == found[asked[1].id].score
    assert [found[one.id].sha256 for one in asked] == [first.sha256, other.sha256]


def test_a_score_that_is_known_by_its_pixels_is_copied_to_the_new_request(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    [ref] = stage(tmp_path / "first" / "staged", [noise(1)])
    before = make_job(tmp_path / "first", (spec, [request(spec, ref, "a fox")]))
    score(before, silent)
    known = {found.pixels: found for found in written(before).values()}
    [same] = stage(tmp_path / "second" / "staged", [noise(1)], first=9)
    asked = [request(spec, same, "a fox"), request(spec, same, "a kite")]
    job = make_job(tmp_path / "second", (spec, asked), known=known)
    report = score(job, silent)
    found = written(job)
    assert (report.scored, report.reused) == (1, 1)
    assert (found[asked[0].id].score, found[asked[0].id].image_key) == (next(iter(known.values())).score, same.key)


def test_a_known_score_without_a_vector_is_computed_again_for_a_scorer_that_keeps_vectors(
    folder_of: FolderOf, tmp_path: Path
):
    spec = fits(folder_of)
    [ref] = stage(tmp_path / "first" / "staged", [noise(1)])
    before = make_job(tmp_path / "first", (spec, [request(spec, ref, "a fox")]))
    score(before, silent)
    known = {found.pixels: found for found in written(before).values()}
    keeping = replace(spec, keeps_vector=True)
    stage(tmp_path / "second" / "staged", [noise(1)])
    asked = request(keeping, ref, "a fox")
    job = make_job(tmp_path / "second", (keeping, [asked]), known=known)
    assert score(job, silent).scored == 1
    vector = np.frombuffer(written(job)[asked.id].vector, "<f2").astype(np.float32)
    assert vector.shape == (16,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)


def test_an_image_that_cannot_be_read_costs_its_own_scores_alone(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    refs = stage(tmp_path / "staged", [noise(1), noise(2)])
    given = tmp_path / "given.png"
    noise(3).save(given)
    absent = ImageRef("f" * 32, "png", None, "0" * 64)
    changed = ImageRef(None, None, str(given), "0" * 64)
    asked = [request(spec, ref, "a fox") for ref in (refs[0], absent, changed, refs[1])]
    job = make_job(tmp_path, (spec, asked))
    report = score(job, silent)
    assert report.scored == 2
    assert {key: failure.reason.split(":")[0] for key, failure in report.failed.items()} == {
        asked[1].id: f"the image to score, {'f' * 32}, is not staged as 'png'",
        asked[2].id: f"the image '{given}' has changed since the build began",
    }


def test_one_score_that_is_not_a_number_is_one_failure(folder_of: FolderOf, tmp_path: Path):
    spec = fits(folder_of)
    loaded = resident_scorer(spec, silent)

    def spoil(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        dark = kwargs["pixel_values"].mean(dim=(1, 2, 3)) < -1.5
        output.pooler_output[dark] = torch.nan

    hook = loaded.model.vision_model.register_forward_hook(spoil, with_kwargs=True)
    refs = stage(tmp_path / "staged", [noise(1), Image.new("RGB", (40, 40), "black"), noise(2)])
    asked = [request(spec, ref, "a fox") for ref in refs]
    job = make_job(tmp_path, (spec, asked))
    report = score(job, silent)
    hook.remove()
    assert report.scored == 2
    assert {key: failure.reason for key, failure in report.failed.items()} == {
        asked[1].id: "its score is nan, and not a finite number (fits)"
    }
    assert asked[1].id not in written(job)
