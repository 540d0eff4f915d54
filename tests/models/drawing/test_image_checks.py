"""A generated image that shows nothing is rejected, one that shows something however pale is kept."""

import numpy as np
import pytest
from PIL import Image

from imagemill.models.drawing.image_checks import find_fault


def fault(values, checks=("blank",)):
    image = Image.fromarray(np.asarray(values, np.uint8))
    return find_fault(image, True, None, image.size, checks)


def around(colour, distance):
    """64 x 64 pixels, each value at most this far from the colour."""
    return np.array(colour) + np.random.default_rng(1).integers(-distance, distance + 1, (64, 64, 3))


@pytest.mark.parametrize("distance", [0, 1, 2])
def test_an_image_within_two_levels_of_one_colour_is_blank(distance):
    assert fault(around((120, 60, 200), distance)) == "the image is of one colour"
    assert fault(around((120, 60, 200), distance), checks=()) is None


def test_an_image_without_a_value_above_two_is_black():
    assert fault(around((1, 1, 1), 1)) == "the image is black"


def test_an_image_three_levels_from_one_colour_is_kept():
    assert fault(around((120, 60, 200), 3)) is None


def test_a_small_shape_is_kept():
    values = np.full((64, 64, 3), 245)
    values[40:44, 10:14] = 200
    assert fault(values) is None
