"""Best of 4 by the bundled scorer: does choosing by score raise the share of right images?

python -m benchmarks.best_of [--tasks prompts edits] [--steps 1 2] [--n 250] [--of 4] [--wording typed]
    [--model FOLDER] [--clip FOLDER] [--json FILE]

The bundled model generates `--of` candidates for each held-out prompt, or edit of an image of the world, at few steps.
"Right" is said by benchmarks/judge.py, which has no network and knows nothing of the scorer. The scorer sees the
prompt, or the description of the scene after the edit. Plain pipelines and transformers' plain loaders, no build.
Also: how often a right image scores higher than a wrong one, among one prompt's candidates and among all. The newest
weights are seldom wrong; `--model models/bundled/model --wording typed`, the earlier ones with wordings they never
learnt, often are.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

from benchmarks.bundled_quality import WORDINGS, render
from benchmarks.judge import read
from imagemill.models.bundled import CLIP_FOLDER
from imagemill.models.bundled.clip_check import ClipScorer
from imagemill.models.bundled.scenes import Scene, draw, draw_jitter, sample_edits, sample_scenes

BATCH = 50


@dataclass(frozen=True)
class Generated:
    """Candidates one after the other: each with the text that it is scored for and the scene that it should show."""

    images: list[Image.Image]
    texts: list[str]
    scenes: list[Scene]


def generate_prompts(pipeline: FluxPipeline, n: int, of: int, steps: int, seed: int, wording: str) -> Generated:
    """`of` candidates for each of `n` held-out prompts; candidate k of prompt i has seed i * of + k."""
    rng = np.random.default_rng((30, seed))
    scenes = [scene for scene in sample_scenes(rng, n, held_out=True) for _ in range(of)]
    prompts = [WORDINGS[wording][0](scene, rng) for scene in scenes[::of]]
    texts = [prompt for prompt in prompts for _ in range(of)]
    return Generated(render(pipeline, texts, list(range(n * of)), steps, BATCH), texts, scenes)


def generate_edits(pipeline: FluxPipeline, n: int, of: int, steps: int, seed: int, wording: str) -> Generated:
    """The same for edits of images of the world; the text is that of the scene after the edit."""
    rng = np.random.default_rng((31, seed))
    edits = sample_edits(rng, n, held_out=True)
    instructions = [WORDINGS[wording][1](*edit, rng) for edit in edits]
    targets = [WORDINGS[wording][0](after, rng) for _, _, after in edits]
    sources = [Image.fromarray(image) for image in draw([before for before, _, _ in edits], draw_jitter(rng, n))]
    many = [[value for value in values for _ in range(of)] for values in (instructions, sources, targets)]
    editor = FluxKontextPipeline.from_pipe(pipeline)
    images = render(editor, many[0], list(range(n * of)), steps, BATCH, source=many[1])
    return Generated(images, many[2], [after for _, _, after in edits for _ in range(of)])


TASKS = {"prompts": generate_prompts, "edits": generate_edits}


def measure(generated: Generated, scorer: ClipScorer, of: int) -> dict:
    """Shares of right images, 0..1: of first candidates, of all, of those with the best score, of the best possible.

    And of pairs of a right and a wrong image, among one prompt's candidates or any, the share in which the right one
    scores higher; null where there is no such pair.
    """
    judged = zip(generated.images, generated.scenes, strict=True)
    right = np.array([not read(image).differences(scene) for image, scene in judged]).reshape(-1, of)
    scores = scorer.scores(generated.images, generated.texts).reshape(-1, of)
    rows = zip(scores, right, strict=True)
    within = np.concatenate([(row[good, None] > row[None, ~good]).ravel() for row, good in rows])
    anywhere = scores[right][:, None] > scores[~right][None]
    return {
        "n": len(right),
        "of": of,
        "first": _mean(right[:, 0]),
        "all": _mean(right),
        "best_score": _mean(right[np.arange(len(right)), scores.argmax(axis=1)]),
        "best_possible": _mean(right.any(axis=1)),
        "pairs": within.size,
        "pairs_won": _mean(within),
        "pairs_of_any_won": _mean(anywhere),
        "score_of_right": _mean(scores[right]),
        "score_of_wrong": _mean(scores[~right]),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def report(results: list[dict]) -> str:
    """The figures as a Markdown table."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    lines = [
        "| images | steps | right: first | best score | best possible | right above wrong (pairs) | of any |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        first, best, possible, pairs, anywhere = (
            share(result[name]) for name in ("first", "best_score", "best_possible", "pairs_won", "pairs_of_any_won")
        )
        cells = [result["task"], str(result["steps"]), first, best, possible, f"{pairs} ({result['pairs']})", anywhere]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/bundled/model-2"))
    parser.add_argument("--clip", type=Path, default=CLIP_FOLDER)
    parser.add_argument("--tasks", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--wording", choices=WORDINGS, default="sentences")
    parser.add_argument("--n", type=int, default=250)
    parser.add_argument("--of", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0, help="another seed selects other prompts")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    pipeline = FluxPipeline.from_pretrained(options.model, torch_dtype=torch.float32)
    scorer = ClipScorer(options.clip)
    results = []
    for task in options.tasks:
        for steps in options.steps:
            generated = TASKS[task](pipeline, options.n, options.of, steps, options.seed, options.wording)
            results.append({"task": task, "steps": steps} | measure(generated, scorer, options.of))
    command = shlex.join(["python", "-m", "benchmarks.best_of", *sys.argv[1:]])
    about = {"command": command, "machine": f"{os.cpu_count()} cores", "date": str(date.today())}
    print(report(results))
    print(f"\nBest of {options.of}, {options.n} each; `{command}`, {about['machine']}, {about['date']}.")
    if options.json:
        options.json.write_text(json.dumps(about | {"results": results}, indent=1))


if __name__ == "__main__":
    main()
