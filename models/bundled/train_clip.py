"""Train the bundled scorer, a small CLIP of the bundled model's world, from nothing, save it and measure it.

python -m imagemill.models.bundled.train_clip --minutes 60  # one core
python -m imagemill.models.bundled.train_clip --further models/bundled/clip --minutes 30 --rate 5e-4 --output FOLDER

It needs no data: scenes.py draws the images, and wording.py and typed.py word them. Killed, it continues from its last
checkpoint in --work when it is started again; with other settings, start with another --work.

A batch is made of groups: a scene and seven that differ from it in one field each (shape and position twice). So the
symmetric contrastive loss (Radford et al. 2021, arXiv:2103.00020) has hard negatives in both directions, and it is
taken a second time within the groups alone. Spoilt images are further negatives for the texts (clip_batches.py). Linear
heads, thrown away after training, say the five fields from either embedding, so that position is learnt early. The
saved weights are an exponential moving average.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from imagemill.models.bundled import CLIP_FOLDER
from imagemill.models.bundled.architecture import END_ID, PAD_ID, TEXT_TOKENS, VOCABULARY, make_tokenizer
from imagemill.models.bundled.clip_batches import GROUP, MEAN, SPOILT_PER_GROUP, STD, World
from imagemill.models.bundled.clip_check import report
from imagemill.models.bundled.loop import Run
from imagemill.models.bundled.muon import Muon
from imagemill.models.bundled.reading import FIELDS
from imagemill.models.bundled.scenes import IMAGE_SIZE

WORK = Path(tempfile.gettempdir()) / "imagemill-bundled-clip"
WIDTH, PROJECTION, PATCH = 128, 64, 8
GROUP_WEIGHT, FIELDS_WEIGHT = 1.0, 0.3
WIDTHS = [len(values) for values in FIELDS.values()]


def make_clip(seed: int = 0) -> CLIPModel:
    """The scorer with random weights: the same for the same seed, with no effect on torch's own generator."""
    part = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={
            **part,
            "num_hidden_layers": 2,
            "vocab_size": len(VOCABULARY),
            "max_position_embeddings": TEXT_TOKENS,
            "pad_token_id": PAD_ID,
            "bos_token_id": None,
            "eos_token_id": END_ID,
        },
        vision_config={**part, "num_hidden_layers": 3, "image_size": IMAGE_SIZE, "patch_size": PATCH},
        projection_dim=PROJECTION,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIPModel(config)


def make_processor() -> CLIPImageProcessorPil:
    """The image processor of the saved folder: to 64x64 pixels in -1..1."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return CLIPImageProcessorPil(
        size=size, do_center_crop=False, crop_size=size, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )


class Scorer(nn.Module):
    """The CLIP and the heads that say a scene's fields from an embedding, of an image or of a text."""

    def __init__(self, clip: CLIPModel):
        super().__init__()
        self.clip = clip
        self.fields = nn.Linear(PROJECTION, sum(WIDTHS))

    def forward(self, tokens: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings (n, 64) of the texts and (m, 64) of the images."""
        texts = self.clip.get_text_features(tokens).pooler_output
        images = self.clip.get_image_features(pixels).pooler_output
        return normalize(texts), normalize(images)

    def read(self, embedded: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of the fields; wanted (n, 5) classes."""
        parts = self.fields(PROJECTION**0.5 * embedded).split(WIDTHS, 1)
        return sum(cross_entropy(part, wanted[:, i]) for i, part in enumerate(parts)) / len(parts)


def contrast(logits: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Mean loss of rows (..., n, n or more) whose right columns are those with the row's scene."""
    right = torch.zeros_like(logits, dtype=torch.bool)
    right[..., : numbers.shape[-1]] = numbers[..., :, None] == numbers[..., None, :]
    return (logits.logsumexp(-1) - logits.masked_fill(~right, -torch.inf).logsumexp(-1)).mean()


def loss_of(texts: torch.Tensor, images: torch.Tensor, numbers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Contrastive loss over the batch, both ways, and within its groups; images beyond the numbers are negatives."""
    n = len(numbers)
    logits = scale * texts @ images.T
    whole = contrast(logits, numbers) + contrast(logits[:, :n].T, numbers)
    groups = numbers.reshape(-1, GROUP)
    texts, right = (part.reshape(*groups.shape, -1) for part in (texts, images[:n]))
    spoilt = images[n:].reshape(len(groups), SPOILT_PER_GROUP, -1)
    within = scale * texts @ torch.cat([right, spoilt], 1).mT
    inside = contrast(within, groups) + contrast(within[..., :GROUP].mT, groups)
    return (whole + GROUP_WEIGHT * inside) / 2


def train(clip: CLIPModel, folder: Path, minutes: float, groups: int, peak: float, seed: int = 0) -> None:
    """Train the scorer in place; resumes from `folder`/clip.pt."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Scorer(clip).train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    layers = [clip.text_model.encoder, clip.vision_model.encoder]
    matrices = [p for part in layers for p in part.parameters() if p.ndim == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    optimizers = [torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01), Muon(matrices)]
    run = Run("clip", folder, minutes, peak, optimizers, {"model": model, "average": average})
    world = World(seed)
    shown: dict[str, float] = {}
    for step in run.steps(lambda: " ".join(f"{name} {value:.3f}" for name, value in shown.items())):
        rng = np.random.default_rng((8, seed, step))
        numbers, tokens, pixels = world.batch(rng, groups)
        texts, images = model(tokens, pixels)
        scale = clip.logit_scale.clamp(max=float(np.log(100))).exp()
        loss = loss_of(texts, images, numbers, scale)
        wanted = world.classes[numbers]
        said, seen = model.read(texts, wanted), model.read(images[: len(numbers)], wanted)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss + FIELDS_WEIGHT * (said + seen)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average.update_parameters(model)
        for name, value in {"loss": loss, "text": said, "image": seen, "scale": scale}.items():
            shown[name] = shown.get(name, value.item()) * 0.98 + 0.02 * value.item()
    model.load_state_dict(average.module.state_dict())
    model.eval()


def save(clip: CLIPModel, folder: Path) -> None:
    """The model in half the bytes, which a plain load still makes float32, its tokenizer and its image processor."""
    clip.half().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    make_processor().save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_bytes())
    config.pop("_name_or_path", None)
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="checkpoints go here")
    parser.add_argument("--output", type=Path, default=CLIP_FOLDER, help="the scorer is saved here")
    parser.add_argument("--further", type=Path, help="train this scorer further")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--groups", type=int, default=16, help=f"of {GROUP} scenes, in a batch")
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    clip = make_clip(options.seed)
    if options.further:
        clip = CLIPModel.from_pretrained(options.further, dtype=torch.float32)
    train(clip, options.work, options.minutes, options.groups, options.rate, options.seed)
    save(clip, options.output)
    print(f"Saved to {options.output}.")
    print(report(options.output, n=720))


if __name__ == "__main__":
    main()
