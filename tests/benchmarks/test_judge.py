"""The judge reads images of the scenes' own script correctly, so its verdict on the model's images can be trusted."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from benchmarks.judge import UNCLEAR, read
from imagemill.models.bundled.scenes import Scene, draw, draw_jitter, is_held_out, sample_edits, sample_scenes


def render(scenes, seed=0):
    images = draw(scenes, draw_jitter(np.random.default_rng(seed), len(scenes)))
    return [Image.fromarray(image) for image in images]


def test_every_rendered_scene_is_read_correctly():
    scenes = sample_scenes(np.random.default_rng(1), 150)
    wrong = {scene: found for scene, image in zip(scenes, render(scenes)) if (found := read(image).differences(scene))}
    assert wrong == {}


def test_slight_blur_and_noise_do_not_confuse_it():
    scenes = sample_scenes(np.random.default_rng(2), 100)
    rng = np.random.default_rng(3)
    right = 0
    for scene, image in zip(scenes, render(scenes)):
        blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float32)
        noisy = np.clip(blurred + rng.normal(0, 6, blurred.shape), 0, 255).astype(np.uint8)
        right += not read(Image.fromarray(noisy)).differences(scene)
    assert right >= 97


def test_an_empty_image_has_a_background_and_nothing_else():
    assert read(Image.new("RGB", (64, 64), (40, 80, 220))).scene == Scene(UNCLEAR, UNCLEAR, "blue", UNCLEAR, UNCLEAR)


def test_noise_is_unclear():
    noise = np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert read(Image.fromarray(noise)).scene.shape == UNCLEAR


def test_two_shapes_are_not_taken_for_one():
    left, right = render(
        [Scene(shape, "red", "white", "large", side) for shape, side in (("star", "left"), ("ring", "right"))]
    )
    both = Image.fromarray(np.minimum(np.asarray(left), np.asarray(right)))
    assert read(both).scene.shape == UNCLEAR


def test_each_wrong_field_is_named():
    [image] = render([Scene("star", "red", "white", "large", "left")])
    assert read(image).differences(Scene("ring", "red", "black", "small", "top")) == {
        "shape",
        "background",
        "size",
        "position",
    }


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="64x64 images, not 32x32"):
        read(Image.new("RGB", (32, 32)))


@pytest.mark.parametrize("held_out", [False, True])
def test_an_edit_changes_one_field_and_stays_on_its_side_of_the_held_out_line(held_out):
    for before, kind, after in sample_edits(np.random.default_rng(5), 200, held_out):
        changed = {name for name in Scene.__dataclass_fields__ if getattr(before, name) != getattr(after, name)}
        assert len(changed) == 1, kind
        assert is_held_out(before) == is_held_out(after) == held_out
