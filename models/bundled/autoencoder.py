"""Train the bundled model's autoencoder: 64x64 images to 8x8 latents of 16 channels, with crisp edges.

The loss is the images' absolute and squared error, the absolute error of their horizontal and vertical differences
(edges and corners; it counts more and more, because at first it only teaches the decoder to draw nothing), and a small
KL term, whose noise teaches the decoder to forgive the transformer's small mistakes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imagemill.models.bundled.loop import Run
from imagemill.models.bundled.scenes import CENTRES, IMAGE_SIZE, Scene, draw, draw_jitter, sample_scenes

KL_WEIGHT = 5e-4
CROP = 32
WHOLE_FROM = 0.7  # of the time is spent on crops round the shape, where there is something to learn; then whole images


def to_tensor(pictures: np.ndarray, device="cpu") -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to float (n, 3, 64, 64) in -1..1, as the pipelines' own image processor does."""
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _crops(pictures: np.ndarray, scenes: list[Scene], rng: np.random.Generator) -> np.ndarray:
    """(n, 32, 32, 3) out of (n, 64, 64, 3): somewhere round each image's shape."""
    corners = np.array([CENTRES[scene.position] for scene in scenes]) - CROP // 2
    corners = (corners + rng.integers(-12, 13, corners.shape)).clip(0, IMAGE_SIZE - CROP)
    return np.stack([picture[y : y + CROP, x : x + CROP] for picture, (x, y) in zip(pictures, corners, strict=True)])


def _edges(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return pictures.diff(dim=-1), pictures.diff(dim=-2)


def _loss(drawn: torch.Tensor, pictures: torch.Tensor, edge_weight: float) -> tuple[torch.Tensor, dict[str, float]]:
    """Error of the decoded images, and its parts for the progress bar."""
    error = drawn - pictures
    absolute = error.abs().mean()
    edges = sum((a - b).abs().mean() for a, b in zip(_edges(drawn), _edges(pictures), strict=True))
    loss = absolute + error.square().mean() + edge_weight * edges
    return loss, {"absolute": absolute.item(), "edges": edges.item()}


def train_autoencoder(vae: AutoencoderKL, folder: Path, minutes: float, batch: int, device: str) -> None:
    """Train `vae` in place and set its scaling and shift factors; resumes from `folder`/autoencoder.pt."""
    vae.to(device).train()
    average = AveragedModel(vae, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    run = Run("autoencoder", folder, minutes, 2e-3, [optimizer], {"model": vae, "average": average})
    losses: dict[str, float] = {}

    def describe_losses() -> str:
        return " ".join(f"{name} {value:.4f}" for name, value in losses.items())

    for step in run.steps(describe_losses):
        rng = np.random.default_rng((1, step))
        whole = run.share >= WHOLE_FROM
        scenes = sample_scenes(rng, batch if whole else 4 * batch)
        drawings = draw(scenes, draw_jitter(rng, len(scenes)))
        pictures = to_tensor(drawings if whole else _crops(drawings, scenes, rng), device)
        posterior = vae.encode(pictures).latent_dist
        loss, losses = _loss(vae.decode(posterior.sample()).sample, pictures, edge_weight=run.share)
        spread = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        optimizer.zero_grad()
        (loss + KL_WEIGHT * spread).backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(vae)

    vae.load_state_dict(average.module.state_dict())
    vae.eval()
    latents = encode(vae, draw(sample_scenes(np.random.default_rng(2), 1024), np.tile((0.0, 0.0, 1.0), (1024, 1))))
    vae.register_to_config(scaling_factor=1 / latents.std().item(), shift_factor=latents.mean().item())


def train_decoder(vae: AutoencoderKL, folder: Path, minutes: float, batch: int, device: str) -> None:
    """Train the decoder further, alone: the latents that the transformer learns stay as they are.

    Resumes from `folder`/decoder.pt.
    """
    vae.to(device).train()
    average = AveragedModel(vae.decoder, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    run = Run("decoder", folder, minutes, 2e-3, [optimizer], {"model": vae.decoder, "average": average})
    losses: dict[str, float] = {}

    def describe_losses() -> str:
        return " ".join(f"{name} {value:.4f}" for name, value in losses.items())

    for step in run.steps(describe_losses):
        rng = np.random.default_rng((6, step))
        scenes = sample_scenes(rng, batch)
        pictures = to_tensor(draw(scenes, draw_jitter(rng, batch)), device)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.sample()
        loss, losses = _loss(vae.decode(latents).sample, pictures, edge_weight=1.0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(vae.decoder)

    vae.decoder.load_state_dict(average.module.state_dict())
    vae.eval()


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray) -> torch.Tensor:
    """uint8 images (n, 64, 64, 3) to raw latents (n, 16, 8, 8) on the CPU: the mode, as the edit pipeline does."""
    parts = torch.split(to_tensor(pictures), 256)
    return torch.cat([vae.encode(part.to(vae.device)).latent_dist.mode().cpu() for part in parts])
