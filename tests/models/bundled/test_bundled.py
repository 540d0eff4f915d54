"""The shipped model generates and edits its own world rightly, through nothing but diffusers' pipelines."""

import json

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline, FluxPipeline

from benchmarks.bundled_quality import render
from benchmarks.judge import read
from imagemill.models.bundled.architecture import DEFAULT_STEPS, TEXT_TOKENS, make_pipeline, make_tokenizer
from imagemill.models.bundled.scenes import sample_edits
from imagemill.models.bundled.wording import describe, edited, instruct, scene_of
from tests.conftest import ROOT

MODEL = ROOT / "models/bundled/model-2"


@pytest.fixture(scope="module")
def pipeline():
    return FluxPipeline.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def editor():
    return FluxKontextPipeline.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def samples():
    return [json.loads(line) for line in (ROOT / "data/samples/shapes.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def images(pipeline, samples):
    return render(pipeline, [row["prompt"] for row in samples], list(range(len(samples))), DEFAULT_STEPS, 36)


def test_nine_in_ten_sample_prompts_are_generated_rightly(samples, images):
    wrong = {
        row["prompt"]: found
        for row, image in zip(samples, images, strict=True)
        if (found := read(image).differences(scene_of(row["prompt"])))
    }
    assert len(wrong) <= 0.1 * len(samples), wrong


def test_nine_in_ten_edits_of_its_own_images_make_the_change_and_no_other(editor, samples, images):
    texts = [row["edit_prompt"] for row in samples]
    results = render(editor, texts, list(range(len(texts))), DEFAULT_STEPS, 36, source=images)
    undone = {}
    for row, before, after in zip(samples, images, results, strict=True):
        if missed := read(after).differences(edited(read(before).scene, row["edit_prompt"])):
            undone[row["prompt"] + " > " + row["edit_prompt"]] = missed
    assert len(undone) <= 0.1 * len(samples), undone


def test_unknown_words_and_endless_prompts_are_generated_all_the_same(pipeline):
    texts = ["Ein rotes Pferd, das über 3 Zäune springt!", "", "a red circle on a blue background " * 50]
    generated = render(pipeline, texts, [0, 1, 2], 2, 3)
    assert [image.size for image in generated] == [(64, 64)] * 3


def test_an_endless_instruction_is_followed_as_far_as_it_is_read(editor, images):
    [after] = render(editor, ["make it blue " * 50], [0], 2, 1, source=images[:1])
    assert after.size == (64, 64)


def test_a_plain_load_is_in_float32_throughout(pipeline):
    parts = (pipeline.transformer, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2)
    assert {part.dtype for part in parts} == {torch.float32}


def test_the_shipped_tokenizer_is_the_one_the_code_makes(pipeline):
    def rules(tokenizer) -> dict:
        parts = json.loads(tokenizer.backend_tokenizer.to_str())
        # Not its padding and truncation, which are as the last call had them.
        return {name: parts[name] for name in ("normalizer", "pre_tokenizer", "model", "post_processor")}

    assert rules(pipeline.tokenizer) == rules(pipeline.tokenizer_2) == rules(make_tokenizer())
    assert pipeline.tokenizer_2.model_max_length == pipeline.tokenizer.model_max_length == TEXT_TOKENS


def test_every_wording_is_read_back_as_the_scene_it_came_from_and_fits_the_text_tokens():
    rng = np.random.default_rng(1)
    for before, kind, after in sample_edits(rng, 500):
        prompt, instruction = describe(before, rng), instruct(before, kind, after, rng)
        assert scene_of(prompt) == before, prompt
        assert edited(before, instruction) == after, instruction
        assert max(len(prompt.split()), len(instruction.split())) < TEXT_TOKENS


def test_random_weights_are_the_same_for_the_same_seed_and_leave_torch_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, other = (make_pipeline(seed).transformer.proj_out.weight for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
