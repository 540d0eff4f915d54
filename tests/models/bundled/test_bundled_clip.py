"""The shipped scorer says which text an image shows, through nothing but transformers' plain loaders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, CLIPModel

from benchmarks.best_of import generate_prompts, measure
from imagemill.models.bundled import CLIP_FOLDER
from imagemill.models.bundled.architecture import TEXT_TOKENS
from imagemill.models.bundled.clip_batches import CHANGED, World, pixels_of
from imagemill.models.bundled.clip_check import ClipScorer, measure_changes, measure_edits, measure_right_texts
from imagemill.models.bundled.scenes import is_held_out
from imagemill.models.bundled.train_clip import loss_of, make_clip, make_processor, save
from imagemill.models.catalog.model_files import hash_model
from tests.conftest import ROOT

FILES = {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def scorer() -> ClipScorer:
    return ClipScorer()


def test_the_shipped_weights_are_those_that_scores_were_made_with():
    assert hash_model(CLIP_FOLDER) == "b7ad121b11077459544a6de1da0c80bd"


def test_a_plain_load_is_a_clip_in_float32_and_its_image_processor_needs_no_torchvision():
    model = AutoModel.from_pretrained(CLIP_FOLDER)
    assert isinstance(model, CLIPModel)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    processor = AutoImageProcessor.from_pretrained(CLIP_FOLDER, backend="pil")
    assert processor(Image.new("RGB", (64, 64)), return_tensors="pt").pixel_values.shape == (1, 3, 64, 64)
    assert AutoTokenizer.from_pretrained(CLIP_FOLDER).model_max_length == TEXT_TOKENS


def test_the_folder_is_under_two_megabytes_and_names_no_path():
    files = list(CLIP_FOLDER.iterdir())
    assert {path.name for path in files} == FILES
    assert sum(path.stat().st_size for path in files) < 2_000_000
    for path in CLIP_FOLDER.glob("*.json"):
        assert "_name_or_path" not in path.read_text()
        assert '"/' not in path.read_text()


def test_the_image_processor_leaves_64x64_images_as_training_had_them(scorer: ClipScorer):
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    found = scorer.processor([Image.fromarray(image) for image in images], return_tensors="pt").pixel_values
    assert torch.allclose(found, pixels_of(images), atol=1e-6)
    assert scorer.processor.to_dict() == make_processor().to_dict()


def test_an_images_own_text_is_first_among_36_in_held_out_wordings(scorer: ClipScorer):
    assert measure_right_texts(scorer, 72, seed=1) >= 0.97


@pytest.mark.slow
def test_a_change_of_one_field_scores_lower(scorer: ClipScorer):
    by_image, by_text = measure_changes(scorer, 60, seed=1)
    least = dict.fromkeys(("shape", "colour", "background", "size"), 0.98) | {"position": 0.95}
    for field, share in least.items():
        assert by_image[field] >= share, (field, by_image)
        assert by_text[field] >= share, (field, by_text)


def test_after_an_edit_the_new_text_scores_higher_than_the_old(scorer: ClipScorer):
    assert measure_edits(scorer, 60, seed=1) >= 0.98


def test_a_score_does_not_depend_on_its_batch(scorer: ClipScorer):
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    texts = ["a large red circle on the left on a blue background", "green", "blue star"]
    together = scorer.scores(images, texts)
    alone = [scorer.scores([image], [text])[0] for image, text in zip(images, texts, strict=True)]
    assert np.allclose(together, alone, atol=1e-5)


def test_unknown_words_and_endless_texts_have_a_score_all_the_same(scorer: ClipScorer):
    texts = ["Ein rotes Pferd, das über 3 Zäune springt!", "", "a red circle on a blue background " * 50]
    scores = scorer.scores([Image.new("RGB", (64, 64))] * 3, texts)
    assert np.isfinite(scores).all()
    assert (abs(scores) <= 1.0001).all()


def test_saving_halves_the_bytes_and_a_plain_load_gives_the_weights_back(tmp_path):
    clip = make_clip(seed=3)
    expected = clip.logit_scale.item(), clip.visual_projection.weight.half().float()
    save(clip, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 1_500_000
    loaded = AutoModel.from_pretrained(tmp_path)
    assert loaded.logit_scale.item() == pytest.approx(expected[0], abs=1e-3)
    assert torch.equal(loaded.visual_projection.weight, expected[1])
    assert json.loads((tmp_path / "config.json").read_bytes())["dtype"] == "float32"


def test_the_loss_is_least_where_texts_and_images_of_a_scene_agree():
    numbers = torch.arange(16)
    right = torch.eye(16)
    wrong = torch.zeros(4, 16)
    scale = torch.tensor(20.0)
    least = loss_of(right, torch.cat([right, wrong]), numbers, scale)
    assert least < 0.01
    assert loss_of(right, torch.cat([right.roll(1, 0), wrong]), numbers, scale) > least + 10
    # A spoilt image that a text scores as high as its own.
    assert loss_of(right, torch.cat([right, right[::4]]), numbers, scale) > least + 0.05


@pytest.mark.slow
def test_the_best_score_of_4_raises_the_share_of_right_images_at_few_steps(scorer: ClipScorer):
    pipeline = FluxPipeline.from_pretrained(ROOT / "models/bundled/model-2", dtype=torch.float32)
    figures = measure(generate_prompts(pipeline, 100, 4, steps=2, seed=0, wording="typed"), scorer, of=4)
    assert figures["best_score"] > figures["first"], figures
    assert figures["pairs_of_any_won"] >= 0.95, figures


@pytest.mark.slow
def test_the_scenes_of_a_group_differ_from_its_first_in_one_field_and_none_is_held_out():
    world = World(seed=0, texts_per_scene=1)
    assert not any(is_held_out(scene) for scene in world.scenes)
    for first, *others in world.groups(np.random.default_rng(0), 50).tolist():
        for number, field in zip(others, CHANGED, strict=True):
            before, after = world.scenes[first], world.scenes[number]
            assert before == replace(after, **{field: getattr(before, field)})
            assert before != after
