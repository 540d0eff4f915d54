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

from models.bundled.architecture import TEXT_TOKENS
from models.bundled.autoencoder import encode
from models.bundled.loop import Run
from models.bundled.scenes import Scene, draw, draw_jitter, sample_edits
from models.bundled.wording import describe, instruct

UNKNOWN_WORD_SHARE = 0.1  # of the texts get a word from outside the vocabulary, so that [UNK] comes to mean nothing
SOURCE_NOISE = 0.05  # an edit's source may be one of the model's own pictures, a little off the drawn ones
CHUNK = 2048


class Denoiser(nn.Module):
    """The trained parts of the pipeline under one name: packed latents and text in, velocity out."""

    def __init__(self, pipeline: FluxPipeline):
        super().__init__()
        self.transformer = pipeline.transformer
        self.text_encoder = pipeline.text_encoder
        self.text_encoder_2 = pipeline.text_encoder_2

    def forward(self, noisy, sigma, tokens, source=None):
        """noisy, source (n, 16, 64); sigma (n,); tokens (n, TEXT_TOKENS), the same for both tokenizers -> (n, 16, 64)."""
        ids = FluxPipeline._prepare_latent_image_ids(len(noisy), 4, 4, noisy.device, noisy.dtype)
        hidden = noisy
        if source is not None:
            hidden = torch.cat([noisy, source], dim=1)
            ids = torch.cat([ids, ids + torch.tensor([1, 0, 0], device=ids.device, dtype=ids.dtype)])
        velocity = self.transformer(
            hidden_states=hidden,
            encoder_hidden_states=self.text_encoder_2(tokens)[0],
            pooled_projections=self.text_encoder(tokens).pooler_output,
            timestep=sigma,
            img_ids=ids,
            txt_ids=torch.zeros(TEXT_TOKENS, 3, device=ids.device, dtype=ids.dtype),
            return_dict=False,
        )[0]
        return velocity[:, : noisy.shape[1]]


@dataclass(frozen=True)
class Edits:
    """Edits whose pictures are encoded already: scenes, and packed latents (n, 16, 64) in half precision."""

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


def encode_edits(pipeline: FluxPipeline, n: int) -> Edits:
    """`n` edits from the scenes that training may draw, with the pipeline's shift and scaling factors applied."""
    rng = np.random.default_rng(3)
    rows = sample_edits(rng, n)
    shift, scale = pipeline.vae.config.shift_factor, pipeline.vae.config.scaling_factor
    packed: tuple[list, list] = ([], [])
    for start in range(0, n, CHUNK):
        chunk = rows[start : start + CHUNK]
        jitter = draw_jitter(rng, len(chunk))
        for side, parts in zip((0, 2), packed, strict=True):
            latents = (encode(pipeline.vae, draw([row[side] for row in chunk], jitter)) - shift) * scale
            parts.append(FluxPipeline._pack_latents(latents, *latents.shape).half())
    return Edits(rows, torch.cat(packed[0]), torch.cat(packed[1]))


def _with_unknown_word(text: str, rng: np.random.Generator) -> str:
    words = text.split()
    if rng.random() < UNKNOWN_WORD_SHARE and len(words) < TEXT_TOKENS - 1:
        words.insert(rng.integers(len(words)), "[UNK]")
    return " ".join(words)


def draw_batch(edits: Edits, rng: np.random.Generator, n: int, editing: bool):
    """Texts, packed latents to learn, and the packed latents of the sources (None when the text alone must do)."""
    picks = rng.integers(len(edits.rows), size=n)
    if editing:
        texts = [instruct(*edits.rows[i], rng) for i in picks]
        latents, source = edits.after[picks].float(), edits.before[picks].float()
        source = source + SOURCE_NOISE * torch.randn_like(source)
    else:
        side = rng.integers(2)
        texts = [describe(edits.rows[i][2 * side], rng) for i in picks]
        latents, source = (edits.before, edits.after)[side][picks].float(), None
    return [_with_unknown_word(text, rng) for text in texts], latents, source


def train_flow(pipeline: FluxPipeline, edits: Edits, folder: Path, minutes: float, batch: int, peak: float) -> None:
    """Train the pipeline's transformer and text encoders in place; resumes from `folder`/flow.pt."""
    device = pipeline.device
    zero_gates(pipeline.transformer)
    model = Denoiser(pipeline).train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.97), weight_decay=0.01)
    run = Run("flow", folder, minutes, peak, optimizer, {"model": model, "average": average, "optimizer": optimizer})
    losses: dict[bool, torch.Tensor] = {}

    def describe_losses() -> str:
        return " ".join(f"{'edit' if editing else 'text'} {losses[editing]:.4f}" for editing in sorted(losses))

    for step in run.steps(describe_losses):
        editing = step % 2 == 1
        texts, latents, source = draw_batch(edits, np.random.default_rng((4, step)), batch, editing)
        tokens = pipeline.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        latents, tokens = latents.to(device), tokens.to(device)
        sigma = torch.sigmoid(torch.randn(batch, device=device))
        noise = torch.randn_like(latents)
        noisy = latents + sigma[:, None, None] * (noise - latents)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            velocity = model(noisy, sigma, tokens, None if source is None else source.to(device))
        loss = (velocity.float() - (noise - latents)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        losses[editing] = torch.lerp(losses.get(editing, loss.detach()), loss.detach(), 0.02)

    model.load_state_dict(average.module.state_dict())
    model.eval()
