"""A recipe that asks a model for something it cannot do is refused, with the field and what the model can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.memory import Memory
from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.config.template import Sweep
from imagemill.data.errors import RecipeError
from imagemill.models.catalog.capabilities import check_settings, check_sweep
from imagemill.models.catalog.resolve import resolve
from imagemill.models.drawing.framing import edit_size
from tests.models.catalog.folders import COMMIT, write_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "mine")


@pytest.mark.parametrize(
    ("model", "task", "words"),
    [
        ("sdxl", "instruction", "cannot do instruction, but text-to-image, image-to-image, inpaint (set recipe.edit.t"),
        ("flux.1-dev", "instruction", "Of the catalog these can do instruction: bundled, instruct-pix2pix, flux.1-kon"),
        ("instruct-pix2pix", "inpaint", "cannot do inpaint, but instruction (set recipe.edit.task"),
    ],
)
def test_a_model_that_cannot_do_the_task_says_what_it_can_and_which_can(model: str, task: str, words: str):
    with pytest.raises(RecipeError) as caught:
        resolve("edit", Edit(model=model, task=task, revision=COMMIT))
    assert str(caught.value).startswith(f"recipe.edit.model is {model!r}, which cannot do {task}")
    assert words in str(caught.value)


def test_a_strength_where_the_task_takes_none_is_refused(folder: Path):
    with pytest.raises(RecipeError, match=r"recipe\.edit\.strength is 0\.5.*takes none for the task 'instruction'"):
        resolve("edit", Edit(model=str(folder), strength=0.5))


@pytest.mark.parametrize(
    ("model", "strength", "steps", "fewest"),
    [
        ("sdxl-turbo", 0.6, 2, 2),  # of one step 0.6 is none
        ("sd-1.5", 0.1, 50, 10),
        ("flux.1-schnell", 0.6, 4, 3),
        ("flux.1-schnell", 0.9, 10, 10),  # of four steps all four would be run, from pure noise
        ("flux.1-schnell", 1.0, 4, 1),
    ],
)
def test_a_strength_decides_how_few_steps_make_sense(model: str, strength: float, steps: int, fewest: int):
    settings: dict[str, Any] = {
        "model": model,
        "task": "image-to-image",
        "strength": strength,
        "revision": COMMIT,
    }
    spec = resolve("edit", Edit(**settings))
    assert (spec.defaults.steps, spec.limits.min_steps, spec.facts().min_steps) == (steps, fewest, fewest)
    check_settings("edit", Edit(**settings, steps=fewest), spec)
    if fewest > 1:
        with pytest.raises(RecipeError, match=rf"steps is {fewest - 1}, but with a strength of .* at least {fewest}:"):
            check_settings("edit", Edit(**settings, steps=fewest - 1), spec)


@pytest.mark.parametrize("section", [Generate(width=72), Generate(height=72)])
def test_a_size_that_the_model_cannot_generate_is_refused(folder: Path, section: Generate):
    name = "width" if section.width else "height"
    with pytest.raises(RecipeError) as caught:
        check_settings("generate", section, resolve("generate", Generate(model=str(folder))))
    assert str(caught.value) == (
        f"recipe.generate.{name} is 72: the model 'mine' generates sizes that are multiples of 16 pixels, "
        "for instance 64."
    )


def test_the_size_that_is_offered_instead_can_be_generated(folder: Path):
    with pytest.raises(RecipeError, match="for instance 16"):
        check_settings("generate", Generate(width=8), resolve("generate", Generate(model=str(folder))))


def test_a_negative_prompt_that_the_model_does_not_read_is_refused(folder: Path):
    spec = resolve("generate", Generate(model=str(folder)))
    with pytest.raises(RecipeError, match="negative_prompt is 'blur', but the model 'mine' makes no use of negative"):
        check_settings("generate", Generate(negative_prompt="blur"), spec)
    check_settings("generate", Generate(), spec)


@pytest.mark.parametrize("model", ["flux.1-schnell", "flux.2-klein-4b"])
def test_a_guidance_that_the_model_ignores_is_refused_and_its_own_number_is_not(model: str):
    section = Generate(model=model, revision=COMMIT, guidance_scale=5)
    spec = resolve("generate", section)
    with pytest.raises(RecipeError, match=f"guidance_scale is 5, but the model {model!r} makes no use of guidance"):
        check_settings("generate", section, spec)
    check_settings("generate", section.model_copy(update={"guidance_scale": spec.defaults.guidance_scale}), spec)


def test_a_guidance_that_the_model_uses_is_accepted():
    section = Generate(model="flux.1-dev", revision=COMMIT, guidance_scale=5)
    check_settings("generate", section, resolve("generate", section))


@pytest.mark.parametrize(("has_place", "uses"), [("true", True), ("false", False)])
def test_a_folders_config_decides_whether_guidance_is_used(folder: Path, has_place: str, uses: bool):
    (folder / "transformer" / "config.json").write_text(f'{{"guidance_embeds": {has_place}}}')
    assert resolve("generate", Generate(model=str(folder))).limits.uses_guidance is uses


def test_a_pipeline_that_generates_only_a_megapixel_gets_edits_of_that_size(tmp_path: Path):
    section = Edit(model=str(write_model(tmp_path / "edit", "QwenImageEditPipeline")), task="inpaint")
    spec = resolve("edit", section)
    for width, height in spec.limits.buckets:
        across = (1024 * 1024 * width / height) ** 0.5
        assert (round(across / 32) * 32, round(across * height / width / 32) * 32) == (width, height)
    assert edit_size((600, 400), (None, None), spec) == (1248, 832)
    assert spec.facts().only_buckets


@pytest.mark.parametrize("attention", ["flash", "flash_3", "sage"])
def test_attention_that_takes_no_mask_is_refused_where_texts_are_padded(attention: str):
    section = Generate(model="qwen-image", revision=COMMIT, speed=Speed(attention=attention))
    with pytest.raises(RecipeError, match=rf"recipe\.generate\.speed\.attention is '{attention}'.*'cudnn'"):
        check_settings("generate", section, resolve("generate", section))
    section = Generate(model="flux.1-dev", revision=COMMIT, speed=Speed(attention=attention))
    check_settings("generate", section, resolve("generate", section))


@pytest.mark.parametrize("scheduler", [None, "flow-match euler", "flow-match unipc"])
def test_qwen_image_at_one_step_says_that_it_needs_two(scheduler: Any):
    """Of one step its schedulers make values that are no numbers."""
    section = Generate(model="qwen-image", revision=COMMIT, steps=1, scheduler=scheduler)
    spec = resolve("generate", section)
    assert spec.facts().min_steps == 2
    with pytest.raises(RecipeError, match=r"steps is 1, but the model 'qwen-image' needs at least 2: its scheduler"):
        check_settings("generate", section, spec)
    check_settings("generate", section.model_copy(update={"steps": 2}), spec)
    with pytest.raises(RecipeError, match=r"sweep\.steps has 1: the model 'qwen-image' needs at least 2\.$"):
        check_sweep(Sweep(steps=[4, 1]), spec)


@pytest.mark.parametrize(("terminal", "fewest"), [("0.02", 2), ("null", 1)])
def test_a_folders_scheduler_decides_whether_it_needs_two_steps(tmp_path: Path, terminal: str, fewest: int):
    folder = write_model(tmp_path / "mine", "QwenImagePipeline")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(f'{{"shift_terminal": {terminal}}}')
    assert resolve("generate", Generate(model=str(folder))).limits.min_steps == fewest


@pytest.mark.parametrize(
    ("offload", "quantization"), [("sequential", "bitsandbytes_4bit"), ("group", "bitsandbytes_8bit")]
)
def test_offload_and_quantization_that_exclude_each_other_are_refused(folder: Path, offload: Any, quantization: Any):
    for kind in ("none", "model", offload):
        section = Generate(model=str(folder), memory=Memory(offload=kind, quantization=quantization))
        spec = resolve("generate", section)
        if kind != offload:
            check_settings("generate", section, spec)
            continue
        with pytest.raises(RecipeError) as caught:
            check_settings("generate", section, spec)
        assert str(caught.value).startswith(
            f"recipe.generate.memory.offload is {offload!r}, which excludes quantization: {quantization}, since "
        )
