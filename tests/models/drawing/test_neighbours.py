"""Latents of a row are the same bits whatever texts its neighbours have, of every family, in float32 and bfloat16.

Eight bits a channel would hide a difference in the last bits, which other sizes and more steps make a large one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.records import Drawing
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.tried import SAVED, TRIED
from imagemill.models.drawing.batches import PreparedDrawing
from imagemill.models.drawing.pipeline_call import arguments_of_call
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from tests.models.jobs import silent
from tests.models.tiny import save_tiny

WIDTH, HEIGHT = 64, 128
LONG = "a very long text about a kite over the sea " * 16
"""Of more tokens than any family reads: a tiny tokenizer makes one of each character."""

PROMPT_MOVES = {
    "StableDiffusionPipeline": 0.1,
    "StableDiffusionInpaintPipeline": 0.1,
    "StableDiffusionInstructPix2PixPipeline": 0.1,
    "StableDiffusionXLPipeline": 0.1,
    "StableDiffusionXLInpaintPipeline": 0.02,
    "StableDiffusion3Pipeline": 0.05,
    "FluxPipeline": 0.05,
    "FluxKontextPipeline": 0.05,
    "FluxFillPipeline": 0.05,
    "Flux2Pipeline": 0.02,
    "Flux2KleinPipeline": 0.005,
    "QwenImagePipeline": 0.01,
    "ZImagePipeline": 0.5,
    "SanaPipeline": 0.1,
    "ChromaPipeline": 0.05,
    "PixArtSigmaPipeline": 0.05,
    "KolorsPipeline": 0.02,
    "LatentConsistencyModelPipeline": 0.05,
}
"""Family -> how far another prompt moves a latent of its tiny pipeline at least, in standard deviations of the latents.
In float32 that is over 10,000 times the rounding, so equal bits mean that a neighbour's text is not felt. In bfloat16
it is one step of rounding of FLUX.2 klein, and a few of Qwen-Image and FLUX.2: little evidence for these three."""

CASES = [(family, task) for family, tasks in TRIED.items() for task, how in tasks.items() if how == SAVED]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return lambda family: folder / family if (folder / family).is_dir() else save_tiny(family, folder)


def spec_of(folder: Path, task: str, dtype: str) -> ModelSpec:
    if task == "text-to-image":
        return resolve("generate", Generate(model=str(folder), dtype=dtype))
    return resolve("edit", Edit(model=str(folder), task=task, dtype=dtype))


def latents_of(spec: ModelSpec, rows: list[PreparedDrawing]) -> torch.Tensor:
    """The latents of each row, generated in one call as imagemill makes it, before they are decoded."""
    pipeline = resident_pipeline(spec, silent)
    with torch.inference_mode():
        return pipeline(**arguments_of_call(pipeline, spec, rows), output_type="latent").images.float()


def row(task: str, **changes: Any) -> PreparedDrawing:
    # Of fewer than four steps image-to-image would leave out none.
    steps = 4 if task == "image-to-image" else 2
    plain = Drawing("0" * 32, "a fox in the snow", 3, steps, guidance_scale=3.0, width=WIDTH, height=HEIGHT)
    source = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (0, 32, WIDTH, HEIGHT))
    return PreparedDrawing(
        drawing=replace(plain, **changes),
        width=WIDTH,
        height=HEIGHT,
        source=None if task == "text-to-image" else source,
        mask=mask if task == "inpaint" else None,
    )


def changed(row: PreparedDrawing, **changes: Any) -> PreparedDrawing:
    return replace(row, drawing=replace(row.drawing, **changes))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("family", "task"), CASES)
def test_a_rows_latents_do_not_depend_on_its_neighbours_texts(
    tiny: Callable, monkeypatch: pytest.MonkeyPatch, family: str, task: str, dtype: str
):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    spec = spec_of(tiny(family), task, dtype)
    if spec.limits.max_batch == 1:
        pytest.skip("rows of this task are generated one by one")
    negative = {"negative_prompt": "blurry"} if spec.limits.negative_prompt else {}
    fox, cat = row(task, **negative), row(task, prompt="a cat", seed=4, **negative)
    plain = latents_of(spec, [fox, cat])[0]
    castle = row(task, prompt="a castle", **negative)
    assert (latents_of(spec, [castle, cat])[0] - plain).abs().max() / plain.std() >= PROMPT_MOVES[family]
    assert torch.equal(latents_of(spec, [fox, changed(cat, prompt=LONG)])[0], plain)
    assert torch.equal(latents_of(spec, [changed(cat, prompt=LONG), fox])[1], plain)
    if negative:
        assert torch.equal(latents_of(spec, [fox, changed(cat, negative_prompt=LONG)])[0], plain)


@pytest.mark.parametrize("texts", [["a fox"], ["a fox", LONG], [LONG, LONG]])
def test_qwen_images_texts_have_one_length_and_a_mask(tiny: Callable, texts: list[str]):
    pipeline = resident_pipeline(spec_of(tiny("QwenImagePipeline"), "text-to-image", "float32"), silent)
    # What another class is made of the loaded parts: image-to-image.
    for model in (pipeline, resident_pipeline(spec_of(tiny("QwenImagePipeline"), "image-to-image", "float32"), silent)):
        embeddings, mask = model.encode_prompt(prompt=texts, device="cpu", max_sequence_length=512)
        assert embeddings.shape[:2] == mask.shape == (len(texts), 512)
        assert [bool(row.all()) for row in mask] == [text == LONG for text in texts]
    assert callable(pipeline.tokenizer.convert_tokens_to_ids)
