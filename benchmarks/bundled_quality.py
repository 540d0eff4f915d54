"""Quality and speed of the bundled model, measured through its saved pipeline.

python -m benchmarks.bundled_quality [--model FOLDER] [--wording sentences|typed] [--n 500] [--json FILE]
    [--sheet IMAGE]

Prompts and edits come from scenes that training never used. An edit starts from an image rendered by the scenes'
script, not from one that the model generated, so that its figures do not include the text-to-image model's mistakes.
``--wording typed`` asks in short forms, with synonyms and capitals, in wordings that training never saw; the shortest
prompts (colour and shape, in each way that they can be put together) are counted apart.
"Kept": every field that the edit does not name is unchanged, and the shape's centre moved by no more than 3 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

from benchmarks.judge import read
from imagemill.models.bundled.architecture import DEFAULT_STEPS, IMAGE_SIZE
from imagemill.models.bundled.held_out_wording import describe_held_out, instruct_held_out
from imagemill.models.bundled.scenes import (
    CENTRES,
    COLOURS,
    SHAPES,
    Scene,
    draw,
    draw_jitter,
    sample_edits,
    sample_scenes,
)
from imagemill.models.bundled.wording import describe, instruct

CHANGED_FIELD = {
    "recolour": "colour",
    "background": "background",
    "replace": "shape",
    "larger": "size",
    "smaller": "size",
}
FURTHEST_MOVE = 3.0  # pixels
WORDINGS = {"sentences": (describe, instruct), "typed": (describe_held_out, instruct_held_out)}


def render(pipeline, texts: list[str], seeds: list[int], steps: int, batch: int, **call) -> list[Image.Image]:
    """Images for the texts, one seeded generator each; a `source` list of images makes them edits."""
    pipeline.set_progress_bar_config(disable=True)
    sources = call.pop("source", None)
    images = []
    for start in range(0, len(texts), batch):
        part = slice(start, start + batch)
        if sources is not None:
            call |= {"image": sources[part], "_auto_resize": False, "max_area": IMAGE_SIZE**2}
        images += pipeline(
            prompt=texts[part],
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            width=IMAGE_SIZE,
            height=IMAGE_SIZE,
            num_inference_steps=steps,
            max_sequence_length=pipeline.tokenizer_2.model_max_length,
            **call,
        ).images
    return images


def measure_prompts(
    pipeline: FluxPipeline, n: int, steps: int, batch: int, seed: int = 0, wording: str = "sentences"
) -> tuple[dict, list]:
    """Shares of `n` held-out prompts with a correct image, images/s, and (prompt, image, wrong fields) for each."""
    rng = np.random.default_rng((10, seed))
    scenes = sample_scenes(rng, n, held_out=True)
    texts = [WORDINGS[wording][0](scene, rng) for scene in scenes]
    started = time.perf_counter()
    images = render(pipeline, texts, list(range(n)), steps, batch)
    speed = n / (time.perf_counter() - started)
    wrong = [read(image).differences(scene) for scene, image in zip(scenes, images, strict=True)]
    fields = Counter(field for fields in wrong for field in fields)
    return {
        "n": n,
        "colours_right": sum(not fields & {"background", "colour"} for fields in wrong) / n,
        "all_right": sum(not fields for fields in wrong) / n,
        "wrong_fields": dict(fields.most_common()),
        "images_per_second": round(speed, 1),
    }, list(zip(texts, images, wrong, strict=True))


def measure_shortest(pipeline: FluxPipeline, steps: int, batch: int) -> tuple[float, list]:
    """Share of "red circle" and the like, one of each, with a correct image, and (prompt, image, wrong fields)."""
    scenes = [
        Scene(shape, colour, "black" if colour == "white" else "white", "large", "centre")
        for shape in SHAPES
        for colour in COLOURS
    ]
    texts = [f"{scene.colour} {scene.shape}" for scene in scenes]
    images = render(pipeline, texts, list(range(len(texts))), steps, batch)
    wrong = [read(image).differences(scene) for scene, image in zip(scenes, images, strict=True)]
    return sum(not fields for fields in wrong) / len(wrong), list(zip(texts, images, wrong, strict=True))


def measure_edits(
    pipeline: FluxKontextPipeline, n: int, steps: int, batch: int, seed: int = 0, wording: str = "sentences"
) -> tuple[dict, list]:
    """Shares of `n` held-out edits that made the requested change and no other, in total and by kind, and images/s."""
    rng = np.random.default_rng((11, seed))
    edits = sample_edits(rng, n, held_out=True)
    texts = [WORDINGS[wording][1](*edit, rng) for edit in edits]
    jitter = draw_jitter(rng, n)
    sources = [Image.fromarray(image) for image in draw([before for before, _, _ in edits], jitter)]
    started = time.perf_counter()
    images = render(pipeline, texts, list(range(n)), steps, batch, source=sources)
    speed = n / (time.perf_counter() - started)

    rows = []
    for (_, kind, after), moved, image in zip(edits, jitter, images, strict=True):
        reading = read(image)
        wrong = reading.differences(after)
        distance = np.hypot(*(np.array(reading.centre) - CENTRES[after.position] - moved[:2]))
        done = CHANGED_FIELD[kind] not in wrong
        kept = not wrong - {CHANGED_FIELD[kind]} and bool(distance <= FURTHEST_MOVE)
        rows.append((kind, done, kept, wrong))

    def shares(chosen: list[tuple]) -> dict:
        count = len(chosen)
        return {
            "n": count,
            "done": sum(done for _, done, _, _ in chosen) / count,
            "kept": sum(kept for _, _, kept, _ in chosen) / count,
            "both": sum(done and kept for _, done, kept, _ in chosen) / count,
        }

    kinds = {kind: shares([row for row in rows if row[0] == kind]) for kind in CHANGED_FIELD}
    result = {**shares(rows), "by_kind": kinds, "images_per_second": round(speed, 1)}
    return result, list(zip(texts, sources, images, [row[3] for row in rows], strict=True))


def report(prompts: dict, edits: dict) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| on held-out scenes | measured | target |",
        "| --- | --- | --- |",
        f"| {prompts['n']} prompts: background and shape colour correct | {prompts['colours_right']:.1%} | 97 % |",
        f"| ... everything correct: shape, size and position too | {prompts['all_right']:.1%} | 90 % |",
        f"| {edits['n']} edits: the requested change is made | {edits['done']:.1%} | 92 % |",
        f"| ... nothing else changed | {edits['kept']:.1%} | 88 % |",
        f"| ... both | {edits['both']:.1%} | - |",
    ]
    if "shortest" in prompts:
        lines.insert(
            4, f"| ... the {len(SHAPES) * len(COLOURS)} of a colour and a shape | {prompts['shortest']:.1%} | - |"
        )
    for kind, share in edits["by_kind"].items():
        figures = " / ".join(f"{share[name]:.0%}" for name in ("done", "kept", "both"))
        lines.append(f"| ... {kind}: made / nothing else / both | {figures} | - |")
    speed, edit_speed = prompts["images_per_second"], edits["images_per_second"]
    return "\n".join([*lines, f"| images/s: text to image / edit | {speed} / {edit_speed} | 20 |"])


def save_sheet(path: Path, generated: list, edited: list) -> None:
    """Save one image of 8 rows: 8 generated images, then 4 edits as source and result; the first, not the best ones."""
    sheet = Image.new("RGB", (16 * IMAGE_SIZE, 8 * IMAGE_SIZE))
    for i in range(64):
        x, y = i % 8 * IMAGE_SIZE, i // 8 * IMAGE_SIZE
        sheet.paste(generated[i][1], (x, y))
    for i in range(32):
        x, y = (8 + i % 4 * 2) * IMAGE_SIZE, i // 4 * IMAGE_SIZE
        sheet.paste(edited[i][1], (x, y))
        sheet.paste(edited[i][2], (x + IMAGE_SIZE, y))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/bundled/model-2"))
    parser.add_argument("--wording", choices=WORDINGS, default="sentences")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="another seed selects other prompts and edits")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--sheet", type=Path, help="save the first images here, correct or not")
    options = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = FluxPipeline.from_pretrained(options.model, torch_dtype=torch.float32).to(device)
    editor = FluxKontextPipeline.from_pipe(pipeline)
    settings = (options.n, options.steps, options.batch, options.seed, options.wording)
    prompts, generated = measure_prompts(pipeline, *settings)
    if options.wording == "typed":
        prompts["shortest"], _ = measure_shortest(pipeline, options.steps, options.batch)
    edits, edited = measure_edits(editor, *settings)
    machine = f"{os.cpu_count()} cores, " + (torch.cuda.get_device_name() if device == "cuda" else "no GPU")
    command = shlex.join(["python", "-m", "benchmarks.bundled_quality", *sys.argv[1:]])
    print(report(prompts, edits))
    print(f"\n{options.steps} steps, batches of {options.batch}; `{command}`, {machine}, {date.today()}.")
    if options.json:
        about = {"command": command, "machine": machine, "date": str(date.today()), "steps": options.steps}
        options.json.write_text(
            json.dumps(about | {"batch": options.batch, "prompts": prompts, "edits": edits}, indent=1)
        )
    if options.sheet:
        save_sheet(options.sheet, generated, edited)


if __name__ == "__main__":
    main()
