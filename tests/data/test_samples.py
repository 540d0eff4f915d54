"""The sample images show what they are named for, and every sample names images that are there."""

import json

import pytest
from PIL import Image

from benchmarks.judge import read
from tests.data.conftest import SAMPLES

IMAGES = sorted((SAMPLES / "images").iterdir())


def test_there_is_an_image_for_every_row_that_names_one():
    named = set()
    for file in SAMPLES.glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        named |= {row["images"] for row in rows if "images" in row}
    assert named == {f"images/{path.name}" for path in IMAGES}
    assert len(named) == 4


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_a_sample_image_shows_the_shape_and_the_colour_of_its_name(path):
    with Image.open(path) as image:
        assert (image.size, image.mode) == ((64, 64), "RGB")
        scene = read(image).scene
    assert f"{scene.colour}-{scene.shape}" == path.stem
    assert scene.background != scene.colour
