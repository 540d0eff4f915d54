"""Quality of the bundled scorer, measured through transformers' plain loaders on scenes that training never drew.

python -m imagemill.models.bundled.clip_check [--model FOLDER] [--n 720] [--seed 0] [--wording held-out|trained]

Scores are cosine similarities of an image's and a text's embedding, in -1..1. Held-out wordings are those of
held_out_wording.py: forms, synonyms and capitals that training never saw.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from imagemill.models.bundled import CLIP_FOLDER
from imagemill.models.bundled.held_out_wording import describe_held_out
from imagemill.models.bundled.reading import FIELDS
from imagemill.models.bundled.scenes import Scene, all_scenes, draw, draw_jitter, sample_edits, sample_scenes
from imagemill.models.bundled.wording import describe

TEXTS = 36  # from which an image's right one is to be found
BATCH = 200
WORDINGS = {"held-out": describe_held_out, "trained": describe}


class ClipScorer:
    """A CLIP folder, loaded as anybody would: scores of images for texts."""

    def __init__(self, folder: Path = CLIP_FOLDER):
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder, backend="pil")

    @torch.inference_mode()
    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        """Unit embeddings (n, projection)."""
        parts = []
        for start in range(0, len(texts), BATCH):
            tokens = self.tokenizer(texts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt")
            parts.append(self.model.get_text_features(**tokens).pooler_output)
        return torch.nn.functional.normalize(torch.cat(parts))

    @torch.inference_mode()
    def embed_images(self, images: list[Image.Image]) -> torch.Tensor:
        """Unit embeddings (n, projection)."""
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = self.processor(images[start : start + BATCH], return_tensors="pt")
            parts.append(self.model.get_image_features(**pixels).pooler_output)
        return torch.nn.functional.normalize(torch.cat(parts))

    def scores(self, images: list[Image.Image], texts: list[str]) -> np.ndarray:
        """One score for each image with the text beside it, (n,)."""
        return (self.embed_images(images) * self.embed_texts(texts)).sum(dim=1).numpy()


def measure_right_texts(scorer: ClipScorer, n: int, seed: int = 0, wording: str = "held-out") -> float:
    """Share of `n` held-out scenes' images whose own text has the highest score among those of 36 scenes."""
    rng = np.random.default_rng((20, seed))
    held_out, first, done = all_scenes(held_out=True), 0, 0
    while done < n:
        scenes = [held_out[i] for i in rng.permutation(len(held_out))[:TEXTS]]
        texts = [WORDINGS[wording](scene, rng) for scene in scenes]
        table = scorer.embed_images(_images(scenes, draw_jitter(rng, TEXTS))) @ scorer.embed_texts(texts).T
        first += int((table.argmax(dim=1) == torch.arange(TEXTS)).sum())
        done += TEXTS
    return first / done


def measure_changes(
    scorer: ClipScorer, n: int, seed: int = 0, wording: str = "held-out"
) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of `n` held-out scenes for which a change of one field scores lower, by field.

    First where the image changes and the text stays, then where the text changes and the image stays. The changed
    scene may be any scene.
    """
    rng = np.random.default_rng((21, seed))
    scenes = sample_scenes(rng, n, held_out=True)
    jitter = draw_jitter(rng, n)
    images = scorer.embed_images(_images(scenes, jitter))
    texts = scorer.embed_texts([WORDINGS[wording](scene, rng) for scene in scenes])
    right = (images * texts).sum(dim=1)
    by_image, by_text = {}, {}
    for field in FIELDS:
        changed = [one_change(scene, field, rng) for scene in scenes]
        other_images = scorer.embed_images(_images(changed, jitter))
        other_texts = scorer.embed_texts([WORDINGS[wording](scene, rng) for scene in changed])
        by_image[field] = float(((other_images * texts).sum(dim=1) < right).float().mean())
        by_text[field] = float(((images * other_texts).sum(dim=1) < right).float().mean())
    return by_image, by_text


def measure_edits(scorer: ClipScorer, n: int, seed: int = 0, wording: str = "held-out") -> float:
    """Share of `n` held-out edits whose image scores higher for the text after the edit than for the one before."""
    rng = np.random.default_rng((22, seed))
    edits = sample_edits(rng, n, held_out=True)
    images = _images([after for _, _, after in edits], draw_jitter(rng, n))
    old, new = ([WORDINGS[wording](edit[side], rng) for edit in edits] for side in (0, 2))
    return float((scorer.scores(images, new) > scorer.scores(images, old)).mean())


def one_change(scene: Scene, field: str, rng: np.random.Generator) -> Scene:
    """A scene that differs from the given one in this field alone."""
    others = [replace(scene, **{field: value}) for value in FIELDS[field] if value != getattr(scene, field)]
    others = [other for other in others if other.colour != other.background]
    return others[rng.integers(len(others))]


def _images(scenes: list[Scene], jitter: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(image) for image in draw(scenes, jitter)]


def report(folder: Path, n: int, seed: int = 0, wording: str = "held-out") -> str:
    """The figures as a Markdown table."""
    scorer = ClipScorer(folder)
    by_image, by_text = measure_changes(scorer, n, seed, wording)
    lines = [
        "| on held-out scenes | measured | aim |",
        "| --- | --- | --- |",
        f"| right text first among {TEXTS} | {measure_right_texts(scorer, n, seed, wording):.1%} | 98 % |",
    ]
    for field in FIELDS:
        aim = "95 %" if field == "position" else "99 %"
        lines.append(
            f"| another {field} scores lower: image / text | {by_image[field]:.1%} / {by_text[field]:.1%} | {aim} |"
        )
    edits = measure_edits(scorer, n, seed, wording)
    return "\n".join([*lines, f"| after an edit the new text scores higher than the old | {edits:.1%} | 99 % |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=CLIP_FOLDER)
    parser.add_argument("--n", type=int, default=720)
    parser.add_argument("--seed", type=int, default=0, help="another seed selects other scenes and wordings")
    parser.add_argument("--wording", choices=WORDINGS, default="held-out")
    options = parser.parse_args()
    print(report(options.model, options.n, options.seed, options.wording))


if __name__ == "__main__":
    main()
