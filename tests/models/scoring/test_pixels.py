"""Measures of pixels, against plain definitions: loops, and images whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image, ImageFilter

from imagemill.data.config.judging.scorers import PixelsScorer
from imagemill.models.scoring.kinds.pixels import measure_of, names
from imagemill.models.scoring.score import score
from imagemill.models.scoring.views import Views
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, scorers, stage, written


def views(image: Image.Image, source: Image.Image | None = None, mask: Image.Image | None = None) -> Views:
    return Views(*(None if one is None else np.asarray(one) for one in (image, source, mask)))


def test_each_measure_of_the_recipe_is_a_file():
    assert names() == sorted(get_args(PixelsScorer.model_fields["measure"].annotation))


def test_sharpness_is_the_variance_of_the_laplacian():
    image = noise(1, (7, 5))
    grey = np.asarray(image, np.float64) @ [0.299, 0.587, 0.114]
    height, width = grey.shape

    def at(row: int, column: int) -> float:
        return grey[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]

    values = [
        at(row - 1, column) + at(row + 1, column) + at(row, column - 1) + at(row, column + 1) - 4 * at(row, column)
        for row in range(height)
        for column in range(width)
    ]
    assert measure_of("sharpness")(views(image)) == pytest.approx(np.var(values), rel=1e-4)


def test_a_blurred_image_is_less_sharp_and_one_of_one_colour_not_at_all():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(2))
    sharpness = [measure_of("sharpness")(views(one)) for one in (image, blurred, Image.new("RGB", (9, 9), "red"))]
    assert sharpness[0] > 10 * sharpness[1] > 0
    assert sharpness[2] == pytest.approx(0, abs=1e-6)


def test_entropy_counts_the_bits_of_the_histogram():
    plain, halves = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "black")
    halves.paste("white", (0, 0, 8, 4))
    assert [measure_of("entropy")(views(one)) for one in (plain, halves)] == [0.0, 1.0]
    every = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))
    assert measure_of("entropy")(views(every)) == 8.0


def _ssim_by_loops(image: np.ndarray, source: np.ndarray) -> float:
    """Wang et al. (2004), pixel by pixel, with numpy's mirrored borders."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    left, right = (np.pad(one, 5, mode="symmetric") for one in (image, source))
    values = []
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            x, y = (one[row : row + 11, column : column + 11] for one in (left, right))
            mean, other = (window * x).sum(), (window * y).sum()
            variance, others = (window * (x - mean) ** 2).sum(), (window * (y - other) ** 2).sum()
            both = (window * (x - mean) * (y - other)).sum()
            c1, c2 = 2.55**2, 7.65**2
            values.append(
                (2 * mean * other + c1) * (2 * both + c2) / ((mean**2 + other**2 + c1) * (variance + others + c2))
            )
    return float(np.mean(values))


def test_ssim_is_that_of_its_definition_and_1_for_equal_images():
    image, source = noise(1, (20, 16)), noise(2, (20, 16))
    grey = [np.asarray(one, np.float64) @ [0.299, 0.587, 0.114] for one in (image, source)]
    assert measure_of("ssim")(views(image, source)) == pytest.approx(_ssim_by_loops(*grey), abs=1e-6)
    assert measure_of("ssim")(views(image, image)) == 1.0


def test_the_changed_share_counts_pixels_that_differ_by_more_than_an_encoder_does():
    source = noise(1, (10, 10))
    edit = source.copy()
    edit.paste("white", (0, 0, 5, 5))
    within = Image.fromarray(np.asarray(source) // 2 + 10)
    above, below = (Image.fromarray(np.asarray(within) + np.uint8(step)) for step in (9, 8))
    assert measure_of("changed_share")(views(edit, source)) == 0.25
    assert [measure_of("changed_share")(views(one, within)) for one in (above, below)] == [1.0, 0.0]


def test_changes_outside_a_mask_count_there_alone():
    source = noise(1, (10, 10))
    edit = source.copy()
    edit.paste("white", (0, 0, 5, 10))
    left, right, whole = (Image.new("L", (10, 10), "black") for _ in range(3))
    left.paste(255, (0, 0, 5, 10))
    right.paste(255, (5, 0, 10, 10))
    whole.paste(255, (0, 0, 10, 10))
    shares = [measure_of("changed_outside_mask")(views(edit, source, mask)) for mask in (left, right, whole)]
    assert shares == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("measure", names())
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3, 2), (640, 360)])
def test_a_measure_of_any_size_of_image_is_a_number(measure: str, size: tuple[int, int]):
    found = measure_of(measure)(views(noise(1, size), noise(2, size), Image.new("L", size)))
    assert math.isfinite(found)


def test_a_job_scores_edits_of_another_size_than_their_source(tmp_path: Path):
    sections: dict[str, dict[str, Any]] = {name: {"kind": "pixels", "measure": name} for name in names()}
    specs = scorers(**sections)
    source = noise(1, (32, 32))
    mask = Image.new("RGB", (32, 32), "black")
    mask.paste("white", (0, 0, 32, 16))
    edit = source.resize((64, 64), Image.Resampling.BICUBIC)
    refs = stage(tmp_path / "staged", [edit, source, mask])
    asked = {name: request(spec, refs[0], source=refs[1], mask=refs[2]) for name, spec in specs.items()}
    job = make_job(tmp_path, *((spec, [asked[name]]) for name, spec in specs.items()))
    report = score(job, silent)
    found = written(job)
    assert (report.scored, dict(report.failed), report.loads) == (5, {}, ())
    assert found[asked["ssim"].id].score == 1.0
    assert found[asked["changed_share"].id].score == 0.0
    assert found[asked["changed_outside_mask"].id].score == 0.0
    assert found[asked["sharpness"].id].score > 0
    assert 0 < found[asked["entropy"].id].score <= 8
