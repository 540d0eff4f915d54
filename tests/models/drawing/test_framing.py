"""Size of an edit, and the part of its source that the model sees: cut where it must be, never distorted."""

import numpy as np
import pytest
from PIL import Image

from imagemill.data.config.steps import Edit
from imagemill.data.images.size_buckets import buckets_around, nearest
from imagemill.models.catalog.resolve import resolve
from imagemill.models.drawing.framing import edit_size, frame, stitch


def spec_of(**edit):
    return resolve("edit", Edit(model="bundled", **edit))


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("source", "requested", "size"),
    [
        ((100, 67), (None, None), (96, 64)),
        ((9, 40), (None, None), (16, 32)),
        ((100, 50), (64, 80), (64, 80)),
        ((100, 50), (64, None), (64, 32)),
        ((100, 50), (None, 64), (128, 64)),
    ],
)
def test_an_edit_is_as_large_as_its_source_unless_the_row_says_otherwise(source, requested, size):
    assert edit_size(source, requested, spec_of()) == size


def test_a_bucket_is_the_models_size_whose_shape_is_nearest():
    assert edit_size((3000, 2000), (None, None), spec_of(size="bucket")) == (80, 48)
    assert edit_size((3000, 2000), (32, 32), spec_of(size="bucket")) == (32, 32)


def test_edges_of_less_than_a_multiple_are_cut_without_resampling():
    image = noise(100, 67)
    assert frame(image, (96, 64), 16).tobytes() == image.crop((2, 1, 98, 65)).tobytes()
    assert frame(image, (100, 67), 16) is image


@pytest.mark.parametrize(("source", "size"), [((200, 100), (64, 64)), ((90, 120), (96, 64)), ((9, 40), (16, 32))])
def test_a_scaled_source_keeps_its_shape(source, size):
    # A disc in the middle stays as wide as it is high.
    x, y = np.meshgrid(np.arange(source[0]) - (source[0] - 1) / 2, np.arange(source[1]) - (source[1] - 1) / 2)
    disc = Image.fromarray(((x**2 + y**2) < (min(source) / 4) ** 2).astype(np.uint8) * 255)
    left, top, right, bottom = frame(disc, size, 16).point(lambda value: 255 * (value > 127)).getbbox()
    assert abs((right - left) - (bottom - top)) <= 2
    assert right - left < min(size)


def test_sizes_made_of_a_megapixel_are_those_of_sdxl():
    sizes = buckets_around(1024, 1024, 8)
    assert {(1024, 1024), (1152, 896), (896, 1152), (1216, 832), (1344, 768), (1536, 640), (704, 1408)} <= set(sizes)
    assert {side % 64 for size in sizes for side in size} == {0}
    assert max(width * height for width, height in sizes) == 1024 * 1024
    assert nearest(sizes, 1.0) == (1024, 1024)


def test_a_models_sizes_are_part_of_its_identity_only_where_an_edit_takes_them():
    plain, bucket = spec_of().identity, spec_of(size="bucket").identity
    assert "size" not in plain
    assert {**bucket, "size": None} == {**plain, "size": None}
    assert bucket["size"][0] == [64, 64]


def test_references_stand_to_the_right_as_high_as_the_image_and_cut_to_the_models_multiple():
    image, reference = noise(64, 48), Image.new("RGB", (50, 24), "red")
    whole = stitch(image, [reference, reference], 16)
    # 64 and twice 100 pixels are 264: half a multiple is cut.
    assert whole.size == (256, 48)
    assert whole.crop((0, 0, 64, 48)).tobytes() == image.tobytes()
    assert whole.crop((64, 0, 256, 48)).getcolors() == [(192 * 48, (255, 0, 0))]
    assert stitch(image, [], 16).tobytes() == image.tobytes()
