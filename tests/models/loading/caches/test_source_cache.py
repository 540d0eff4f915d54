"""Cache of encoded source images: several edits of one source encode it once and keep every bit."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage
from diffusers.models.autoencoders.vae import EncoderOutput
from PIL import Image

from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Edit
from imagemill.data.records import Drawing
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.resolve import resolve
from imagemill.models.drawing.draw import draw
from imagemill.models.job import Job
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.caches.source_cache import SourceCache
from tests.models.jobs import PNG, silent
from tests.models.tiny import save_tiny
from tests.models.tiny.flux import flux2_parts
from tests.models.tiny.parts import vae as tiny_vae
from tests.models.tiny.qwen import qwen_parts

INSTRUCTIONS = ["a fox in the snow", "a castle", "at night", "a kite"]


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Two images to edit."""
    slope, ring = tmp_path / "slope.png", tmp_path / "ring.png"
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(slope)
    Image.radial_gradient("L").resize((64, 64)).convert("RGB").save(ring)
    return [slope, ring]


def edited(model: Path, task: str, sources: list[Path], folder: Path, remember: bool) -> tuple[list[bytes], int]:
    """All instructions applied to all sources, in batches of two; and how often the VAE encoded something."""
    spec = resolve("edit", Edit(model=str(model), task=task, speed=Speed(remember_sources=remember)))
    drawings = tuple(
        Drawing(
            f"{seed:032x}",
            prompt,
            seed,
            steps=4,
            guidance_scale=3.0,
            source_path=str(source),
            source_hash=sha256(source.read_bytes()).hexdigest(),
        )
        for seed, (source, prompt) in enumerate((source, prompt) for source in sources for prompt in INSTRUCTIONS)
    )
    pipeline, encoded = pipeline_cache.resident_pipeline(spec, silent), []
    pipeline.vae.encoder.register_forward_hook(lambda *_: encoded.append(1))
    folder.mkdir(exist_ok=True)
    keys = {drawing.key: (PNG,) for drawing in drawings}
    job = Job(spec, drawings, keys, spec.limits.max_batch or 2, frozenset(), str(folder))
    assert not draw(job, silent).failed
    return [Staging(folder).read(drawing.key, PNG.name)[0] for drawing in drawings], len(encoded)


@pytest.mark.parametrize(
    ("family", "task", "encodes"),
    [
        # It takes the mode, row by row.
        ("FluxKontextPipeline", "instruction", 8),
        # It samples the distribution with the row's generator, which makes its noise afterwards.
        ("FluxPipeline", "image-to-image", 8),
        # So does this one, and its convolutions keep the memory format that the VAE returned.
        ("StableDiffusionPipeline", "image-to-image", 8),
        # A whole batch at once.
        ("StableDiffusionInstructPix2PixPipeline", "instruction", 4),
    ],
)
def test_edits_of_one_source_encode_it_once_and_keep_every_bit(
    family: str, task: str, encodes: int, sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    model = save_tiny(family, tmp_path)
    plain, often = edited(model, task, sources, tmp_path / "plain", remember=False)
    remembered, seldom = edited(model, task, sources, tmp_path / "remembered", remember=True)
    assert (often, seldom) == (encodes, len(sources))
    assert remembered == plain
    assert len(set(plain)) == len(plain)


@pytest.mark.parametrize("parts", [flux2_parts(guided=False), qwen_parts()], ids=["flux2", "qwen"])
def test_the_vaes_of_other_families_are_cached_too(parts: dict[str, Any]):
    vae = parts["vae"]
    # Qwen's takes videos, of one frame here.
    images = torch.rand((2, 3, 1, 64, 64) if isinstance(vae, AutoencoderKLQwenImage) else (2, 3, 64, 64))
    encoded, cache = [], SourceCache(vae.encode)
    vae.encoder.register_forward_hook(lambda *_: encoded.append(1))
    first = cache(images).latent_dist
    often = len(encoded)
    again = cache(images).latent_dist
    assert len(encoded) == often
    assert torch.equal(again.mode(), first.mode())
    assert torch.equal(*(latent.sample(torch.Generator().manual_seed(5)) for latent in (first, again)))


def test_a_cached_image_has_the_memory_format_of_an_encoded_one():
    vae, images = tiny_vae(16), torch.rand((2, 3, 96, 64))
    last = images.to(memory_format=torch.channels_last)
    cache = SourceCache(vae.encode)
    for batch in (images, last):
        first, again = (cache(batch).latent_dist.parameters for _ in range(2))
        assert again.stride() == first.stride() == vae.encode(batch).latent_dist.parameters.stride()
        assert torch.equal(again, first)


def test_the_least_recently_used_images_are_evicted():
    vae, encoded = tiny_vae(16), []
    vae.encoder.register_forward_hook(lambda *_: encoded.append(1))
    images = [torch.full((1, 3, 64, 64), value) for value in (0.1, 0.2, 0.3)]
    row = vae.encode(images[0]).latent_dist.parameters[0].nbytes
    cache = SourceCache(vae.encode, size=2 * row)
    encoded.clear()
    for which, again in ((0, True), (1, True), (0, False), (2, True), (0, False), (1, True)):
        encoded.clear()
        assert torch.equal(cache(images[which]).latent_dist.mode(), vae.encode(images[which]).latent_dist.mode())
        assert len(encoded) == 1 + again


def test_an_image_of_the_same_bytes_in_another_shape_or_type_is_encoded_anew():
    calls = []

    def encode(images: torch.Tensor) -> object:
        calls.append(images.shape)
        return AutoencoderKL.encode(vae, images)

    vae, zeros = tiny_vae(16), torch.zeros(1, 3, 64, 128)
    cache = SourceCache(encode)
    for images in (zeros, zeros.reshape(1, 3, 128, 64), zeros.repeat(2, 1, 1, 1)):
        cache(images)
        assert len(cache(images).latent_dist.mode()) == len(images)
    assert len(calls) == 3


def test_an_output_of_another_kind_is_not_cached():
    calls = []

    def encode(images: torch.Tensor) -> EncoderOutput:
        calls.append(1)
        return EncoderOutput(latent=images)

    cache = SourceCache(encode)
    for _ in range(2):
        assert cache(torch.zeros(1, 3, 8, 8)).latent.shape == (1, 3, 8, 8)
    assert len(calls) == 2
