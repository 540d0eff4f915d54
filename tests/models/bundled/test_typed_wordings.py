"""The bundled model reads what a user types first: capitals, punctuation, synonyms, short forms and everyday edits."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from diffusers import FluxKontextPipeline, FluxPipeline
from transformers import AutoTokenizer

from benchmarks.bundled_quality import measure_edits, measure_prompts, measure_shortest
from imagemill.models.bundled import held_out_wording, typed, wording
from imagemill.models.bundled.architecture import DEFAULT_STEPS, TEXT_TOKENS, VOCABULARY
from imagemill.models.bundled.normalizer import SYNONYMS, make_normalizer
from imagemill.models.bundled.scenes import EDITS, Scene, sample_edits
from tests.conftest import ROOT

MODEL = ROOT / "models/bundled/model-2"
NORMALIZER = make_normalizer()
BEFORE = Scene("square", "green", "yellow", "large", "left")
AFTER = Scene("ring", "purple", "black", "small", "left")


@pytest.mark.parametrize(
    ("typed_text", "text"),
    [
        ("Large purple RING on a black background.", "large purple ring on a black background"),
        ("large purple ring, on black", "large purple ring on black"),
        ("Huge violet donut on black!", "large purple ring on black"),
        ("Turn it blue.", "turn it blue"),
        ("please make it a bit bigger", "make it bigger"),
        ("change the background color to black", "change the background to black"),
        ("a tiny crimson disc in the very centre", "a small red circle in the centre"),
        ("a ring with a solid blue backdrop", "a ring on a blue background"),
        ("an orange cross", "a orange cross"),
        ("ring, violet, left, black.", "ring purple left on plain black"),
        ("blue star, white behind it", "blue star white background"),
        ("white star on the left", "white star on the left on plain black"),
    ],
)
def test_the_tokenizer_reads_both_texts_alike(typed_text: str, text: str):
    tokenizer = AutoTokenizer.from_pretrained(MODEL / "tokenizer")
    assert tokenizer(typed_text).input_ids == tokenizer(text).input_ids


@pytest.mark.parametrize(
    ("text", "background"),
    [
        ("Blue background, red circle", "blue"),
        ("a red circle on a blue background", "blue"),
        ("red circle on blue", "blue"),
        ("red circle with a plain navy backdrop", "blue"),
        ("circle, red, background: blue", "blue"),
        ("the background is blue, the circle is red", "blue"),
        ("ring orange background purple", "purple"),
        ("orange background purple ring", "orange"),
        ("orange background large purple ring", "orange"),
        ("turn the red background blue", "blue"),
        ("change the background from red to blue", "blue"),
        ("replace the background with blue", "blue"),
        ("use blue as the background", "blue"),
        ("red circle, left, blue", "blue"),
        ("a white star", "black"),
        ("red circle", None),
        ("turn it blue", None),
        ("make the red circle blue", None),
        ("star white", None),
        ("a white star instead", None),
    ],
)
def test_the_tokenizer_marks_the_colour_that_is_said_of_the_background(text: str, background: str | None):
    assert marked(text) == ([background] if background else [])


def marked(text: str) -> list[str]:
    return re.findall(r"background_(\w+)", NORMALIZER.normalize_str(text))


def test_in_every_wording_for_training_the_backgrounds_colour_is_marked_and_no_other():
    rng = np.random.default_rng(3)
    for before, kind, after in sample_edits(rng, 1000):
        said = [after.background] if kind == "background" else []
        for text in (typed.instruct_typed(before, kind, after, rng), wording.instruct(before, kind, after, rng)):
            assert marked(text) == said, text
        for text in (typed.describe_typed(after, rng), wording.describe(after, rng)):
            on_black = ["black"] if after.colour == "white" and marked(text) == ["black"] else []
            assert marked(text) == (re.findall(rf"\b{after.background}\b", text) or on_black), text


@pytest.mark.parametrize("word", SYNONYMS)
def test_a_synonym_is_read_as_a_word_that_the_model_knows(word: str):
    for other in SYNONYMS[word]:
        found = NORMALIZER.normalize_str(other)
        assert set(found.split()) <= set(VOCABULARY), other
        assert found == NORMALIZER.normalize_str(word), other


def test_every_prompt_for_training_has_known_words_and_every_text_fits_the_text_tokens():
    rng = np.random.default_rng(2)
    for before, kind, after in sample_edits(rng, 500):
        prompts = [typed.describe_typed(after, rng), wording.describe(after, rng)]
        for text in prompts:
            assert set(NORMALIZER.normalize_str(text).split()) <= set(VOCABULARY), text
        instructions = [typed.instruct_typed(before, kind, after, rng), wording.instruct(before, kind, after, rng)]
        for text in [*prompts, *instructions]:
            assert len(NORMALIZER.normalize_str(text).split()) < TEXT_TOKENS, text


def test_training_sees_no_held_out_wording():
    def normal(*texts: str) -> set[str]:
        words = {"size": AFTER.size, "colour": AFTER.colour, "shape": AFTER.shape, "background": AFTER.background}
        old = {"old_shape": BEFORE.shape, "old_colour": BEFORE.colour, "old_background": BEFORE.background}
        return {NORMALIZER.normalize_str(text.format(**words, **old, place="{place}")) for text in texts}

    def with_places(prompts, places) -> set[str]:
        return {prompt.replace("{place}", place) for prompt, place in product(normal(*prompts), places["left"])}

    learnt = normal(
        *(
            " ".join({"thing": thing, "place": place, "setting": setting}[part] for part in order)
            for order, thing, place in product(typed.ORDERS, typed.THINGS, typed.PLACES["left"])
            for setting in (typed.SETTINGS_FIRST if order[0] == "setting" else typed.SETTINGS)
        )
    )
    for setting in wording.SETTINGS:
        sentences = [prompt.replace("{setting}", setting) for prompt in wording.PROMPTS]
        learnt |= {NORMALIZER.normalize_str(text) for text in with_places(sentences, wording.PLACES)}
    held_out = with_places(held_out_wording.PROMPTS, held_out_wording.PLACES)
    assert not {NORMALIZER.normalize_str(text) for text in held_out} & learnt

    for kind in EDITS:
        parts = (" ".join(chosen) for chosen in product(*typed.INSTRUCTIONS[kind]))
        learnt = normal(*parts, *typed.OTHER_INSTRUCTIONS[kind], *wording.INSTRUCTIONS[kind])
        assert not normal(*held_out_wording.INSTRUCTIONS[kind]) & learnt


@pytest.mark.slow
def test_held_out_wordings_of_held_out_scenes_are_generated_rightly():
    pipeline = FluxPipeline.from_pretrained(MODEL)
    figures, rows = measure_prompts(pipeline, 60, DEFAULT_STEPS, 60, wording="typed")
    assert figures["all_right"] >= 0.9, [(text, wrong) for text, _, wrong in rows if wrong]


@pytest.mark.slow
def test_a_colour_and_a_shape_are_enough():
    share, rows = measure_shortest(FluxPipeline.from_pretrained(MODEL), DEFAULT_STEPS, 48)
    assert share >= 0.95, [(text, wrong) for text, _, wrong in rows if wrong]


@pytest.mark.slow
def test_held_out_everyday_edits_are_made_and_nothing_else():
    editor = FluxKontextPipeline.from_pretrained(MODEL)
    figures, rows = measure_edits(editor, 60, DEFAULT_STEPS, 60, wording="typed")
    assert figures["done"] >= 0.88, [(text, wrong) for text, _, _, wrong in rows if wrong]
    assert figures["both"] >= 0.82, [(text, wrong) for text, _, _, wrong in rows if wrong]
