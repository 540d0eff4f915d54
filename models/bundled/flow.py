"""Train the bundled model's transformer and its two text encoders together, as a rectified flow over fixed latents.

Everything follows what `FluxPipeline` and `FluxKontextPipeline` do when they draw: latents shifted and scaled, packed
2x2; the timestep is sigma in 0..1; the network says noise minus latents; an edit's source enters as further tokens,
whose position ids begin with 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imagemill.models.bundled.architecture import TEXT_TOKENS
from imagemill.models.bundled.autoencoder import encode
from imagemill.models.bundled.loop import Run
from imagemill.models.bundled.muon import Muon
from imagemill.models.bundled.reading import Reader, labels
from imagemill.models.bundled.scenes import Scene, draw, draw_jitter, sample_edits
from imagemill.models.bundled.typed import describe_typed, instruct_typed
from imagemill.models.bundled.wording import DEFAULTS, describe, instruct

UNKNOWN_WORD_SHARE = 0.1  # of the texts get a word from outside the vocabulary, so that [UNK] comes to mean nothing
SOURCE_NOISE = 0.05  # an edit's source may be one of the model's own images, a little off the drawn ones
CHUNK = 2048
READING_STEPS = 600
TYPED_SHARE = 0.5  # of the texts are as a user types them, the others in whole sentences
PLAIN_SHARE = 0.25  # of the prompts are for scenes whose defaults let most of a prompt be left out
READING_WEIGHT = 0.05  # of the reading loss while the transformer learns
# Noise levels are logit-normal round this mean. A thousand latent numbers that say little show what they say through
# a lot of noise, so the text has something to decide near sigma 1 only; with a mean of 0 hardly a sample is there.
NOISE_MEAN, NOISE_SPREAD = 1.5, 1.2


class Denoiser(nn.Module):
    """The trained parts of the pipeline under one name: packed latents and text in, velocity out."""

    def __init__(self, pipeline: FluxPipeline):
        super().__init__()
        self.transformer = pipeline.transformer
        self.text_encoder = pipeline.text_encoder
        self.text_encoder_2 = pipeline.text_encoder_2

    def read(self, tokens):
        """tokens (n, TEXT_TOKENS) for both encoders -> CLIP's (n, width) and T5's (n, TEXT_TOKENS, width)."""
        return self.text_encoder(tokens).pooler_output, self.text_encoder_2(tokens)[0]

    def forward(self, noisy, sigma, text, source=None):
        """noisy, source (n, 16, 64); sigma (n,); text as `read` gives it -> velocity (n, 16, 64)."""
        ids = FluxPipeline._prepare_latent_image_ids(len(noisy), 4, 4, noisy.device, noisy.dtype)
        hidden = noisy
        if source is not None:
            hidden = torch.cat([noisy, source], dim=1)
            ids = torch.cat([ids, ids + torch.tensor([1, 0, 0], device=ids.device, dtype=ids.dtype)])
        velocity = self.transformer(
            hidden_states=hidden,
            pooled_projections=text[0],
            encoder_hidden_states=text[1],
            timestep=sigma,
            img_ids=ids,
            txt_ids=torch.zeros(TEXT_TOKENS, 3, device=ids.device, dtype=ids.dtype),
            return_dict=False,
        )[0]
        return velocity[:, : noisy.shape[1]]


@dataclass(frozen=True)
class Edits:
    """Edits with encoded images: scenes, and packed latents (n, 16, 64) in half precision."""

    rows: list[tuple[Scene, str, Scene]]
    before: torch.Tensor
    after: torch.Tensor


def zero_gates(transformer: nn.Module) -> None:
    """Start every block as the identity and the whole network at zero (adaLN-Zero, from the DiT paper)."""
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    norms = [
        getattr(block, name) for block in blocks for name in ("norm", "norm1", "norm1_context") if hasattr(block, name)
    ]
    for linear in [*(norm.linear for norm in norms), transformer.norm_out.linear, transformer.proj_out]:
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)


def encode_edits(pipeline: FluxPipeline, n: int, folder: Path) -> Edits:
    """`n` edits from the scenes that training may draw, shifted and scaled as the pipeline does; kept in `folder`."""
    rng = np.random.default_rng(3)
    rows = sample_edits(rng, n)
    path = folder / f"edits-{n}.pt"
    if path.exists():
        return Edits(rows, *torch.load(path, weights_only=True))
    shift, scale = pipeline.vae.config.shift_factor, pipeline.vae.config.scaling_factor
    packed: tuple[list, list] = ([], [])
    for start in range(0, n, CHUNK):
        chunk = rows[start : start + CHUNK]
        jitter = draw_jitter(rng, len(chunk))
        for side, parts in zip((0, 2), packed, strict=True):
            encoded = (encode(pipeline.vae, draw([row[side] for row in chunk], jitter)) - shift) * scale
            parts.append(FluxPipeline._pack_latents(encoded, *encoded.shape).half())
    latents = [torch.cat(parts) for parts in packed]
    torch.save(latents, path)
    return Edits(rows, *latents)


def _with_unknown_word(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    if rng.random() < UNKNOWN_WORD_SHARE and len(words) < TEXT_TOKENS - 1:
        words.insert(rng.integers(len(words)), "[UNK]")
    return " ".join(words)


def _plain_rows(edits: Edits, side: int) -> np.ndarray:
    """The rows whose scene on one side (0, 2) is as the defaults have it but for one field at most."""
    return np.array(
        [
            i
            for i, row in enumerate(edits.rows)
            if sum(getattr(row[side], field) != value for field, value in DEFAULTS.items()) < 2
        ]
    )


def draw_texts(edits: Edits, rng: np.random.Generator, picks: np.ndarray, side: int | None):
    """Texts for the picked edits and what they ask for (n, 5): instructions, or prompts for one side (0, 2) of them."""
    rows = [edits.rows[i] for i in picks]
    typed = rng.random(len(rows)) < TYPED_SHARE
    if side is None:
        texts = [(instruct_typed if t else instruct)(*row, rng) for row, t in zip(rows, typed, strict=True)]
        wanted = [labels(row[2], before=row[0]) for row in rows]
    else:
        texts = [(describe_typed if t else describe)(row[side], rng) for row, t in zip(rows, typed, strict=True)]
        wanted = [labels(row[side]) for row in rows]
    return [_with_unknown_word(text, rng) for text in texts], torch.tensor(wanted)


def teach_reading(model: Denoiser, reader: Reader, tokenizer, edits: Edits, device, heads_alone: bool) -> None:
    """Train the text encoders alone, with the heads of `reader`, until they recognise what a text asks for.

    ``heads_alone`` leaves encoders that a trained transformer reads as they are.
    """
    encoders = [] if heads_alone else [*model.text_encoder.parameters(), *model.text_encoder_2.parameters()]
    optimizer = torch.optim.AdamW([*encoders, *reader.parameters()], weight_decay=0.01)
    for step in range(READING_STEPS):
        rng = np.random.default_rng((5, step))
        texts, wanted = draw_texts(edits, rng, rng.integers(len(edits.rows), size=128), None if step % 2 else 0)
        tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        loss = reader(*model.read(tokens.to(device)), wanted.to(device))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50, (READING_STEPS - step) / 200)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"reading, step {step + 1}: {loss.item():.4f}", flush=True)


def train_flow(
    pipeline: FluxPipeline, edits: Edits, folder: Path, minutes: float, batch: int, peak: float, further: bool = False
) -> None:
    """Train the pipeline's transformer and text encoders in place; resumes from `folder`/flow.pt.

    ``further`` begins with the weights as they are, not from nothing.
    """
    device = pipeline.device
    if not further:
        zero_gates(pipeline.transformer)
    model = Denoiser(pipeline).train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    blocks = [pipeline.transformer.transformer_blocks, pipeline.transformer.single_transformer_blocks]
    # Not the norms' modulations: they begin at zero and see one token an image.
    matrices = [p for b in blocks for name, p in b.named_parameters() if p.ndim == 2 and "norm" not in name]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    optimizers = [torch.optim.AdamW(others, betas=(0.9, 0.97), weight_decay=0.01), Muon(matrices)]
    reader = Reader().to(device)
    optimizers.append(torch.optim.AdamW(reader.parameters(), weight_decay=0.01))
    run = Run("flow", folder, minutes, peak, optimizers, {"model": model, "average": average, "reader": reader})
    losses: dict[bool, torch.Tensor] = {}

    def describe_losses() -> str:
        return " ".join(f"{'edit' if editing else 'text'} {losses[editing]:.4f}" for editing in sorted(losses))

    if run.step == 0:
        teach_reading(model, reader, pipeline.tokenizer, edits, device, heads_alone=further)
    plain = {side: _plain_rows(edits, side) for side in (0, 2)}
    for step in run.steps(describe_losses):
        rng = np.random.default_rng((4, step))
        picks = rng.integers(len(edits.rows), size=batch)
        editing = step % 5 in (1, 3)
        side = None if editing else 2 * int(rng.integers(2))
        if side is not None:
            picks = np.where(rng.random(batch) < PLAIN_SHARE, rng.choice(plain[side], batch), picks)
        texts, wanted = draw_texts(edits, rng, picks, side)
        tokens = pipeline.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        latents = (edits.before if side == 0 else edits.after)[picks].float().to(device)
        source = None
        if editing:
            source = edits.before[picks].float().to(device)
            source = source + SOURCE_NOISE * torch.randn_like(source)
        sigma = torch.sigmoid(NOISE_MEAN + NOISE_SPREAD * torch.randn(batch, device=device))
        noise = torch.randn_like(latents)
        noisy = latents + sigma[:, None, None] * (noise - latents)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            text = model.read(tokens.to(device))
            velocity = model(noisy, sigma, text, source)
            reading = reader(*text, wanted.to(device))
        loss = (velocity.float() - (noise - latents)).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss + READING_WEIGHT * reading.float()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average.update_parameters(model)
        losses[editing] = torch.lerp(losses.get(editing, loss.detach()), loss.detach(), 0.02)

    model.load_state_dict(average.module.state_dict())
    model.eval()
