"""Words by a model that sees: what share of edits is right, unjudged and judged?

python -m benchmarks.words [--images 64] [--count 4] [--of 4] [--steps 1] [--json FILE]

A chat server on this machine answers as tests/models/seeing_judge.py: it decodes the images that it is sent, and reads
them by benchmarks/judge.py. A build has it write `--count` instructions for each of `--images` images of the world,
and the bundled model carries them out. The same recipe with a chat scorer then keeps, of `--of` candidates of each
edit, the first that follows its instruction and changes nothing else; its inverse rows lead back. One question in
eight meets a fault first: words around the answer, half an answer, a busy server, a cut connection.
"Right" is said by benchmarks/judge.py of the dataset's files, by their input, instruction and result. The judge inside
reads in the same way, so the figure is about the path between: the right images and texts are sent, and what is
answered decides.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import subprocess
import sys
import tempfile
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from PIL import Image

from benchmarks.bundled_quality import FURTHEST_MOVE
from benchmarks.judge import read
from imagemill.models.bundled.scenes import draw, draw_jitter, sample_scenes
from imagemill.models.bundled.wording import edited
from tests.models.chat_server import Asked, Behaviour, ChatServer, busy, cuts, half, malformed, wrapped
from tests.models.seeing_judge import see

FAULTS: tuple[Behaviour, ...] = (malformed, busy(), half, cuts, wrapped("Gladly:\n```json\n", "\n```"))

PERFECT = {"judge_follows": {"min": 5}, "judge_keeps": {"min": 5}}


def trouble(asked: Asked, before: int) -> Behaviour | None:
    """What goes wrong with a request: of one question in eight, the first time that it is asked."""
    number = zlib.crc32(asked.question.encode())
    return FAULTS[number // 8 % len(FAULTS)] if number % 8 == 0 and before == 0 else None


def write_images(folder: Path, n: int, seed: int = 0) -> Path:
    """Write images of random scenes, and a prompts file that names them; returns that file."""
    rng = np.random.default_rng((33, seed))
    images = draw(sample_scenes(rng, n, held_out=True), draw_jitter(rng, n))
    rows = []
    for number, image in enumerate(images):
        name = f"{number:05d}.png"
        Image.fromarray(image).save(folder / name)
        rows.append({"id": f"{number:05d}", "images": name})
    prompts = folder / "images.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return prompts


def recipe(prompts: Path, output: Path, address: str, count: int, steps: int | None) -> dict[str, Any]:
    """A recipe that has instructions written and carried out, and judges nothing."""
    step = {
        "model": "seeing",
        "api": {"base_url": address, "concurrency": 8},
        "sees": ["images"],
        "count": count,
        "seed": 0,
        "ask": "Write an instruction for this image.",
        "fields": {"edit_prompt": "text", "short": "text", "inverse_edit": "text"},
    }
    edit: dict[str, Any] = {"model": "bundled", **({"steps": steps} if steps else {})}
    return {"name": "words", "prompts": str(prompts), "output": str(output), "llm": [step], "edit": edit}


def judged(fields: dict[str, Any], address: str, of: int) -> dict[str, Any]:
    """The same recipe with a judge, which keeps the first of ``of`` candidates that is right."""
    scorer = {
        "kind": "chat",
        "model": "seeing",
        "api": {"base_url": address, "concurrency": 8},
        "sees": ["input_image", "edited_image"],
        "ask": "The second image is an edit of the first. Is it right?\nInstruction: {edit_prompt}",
        "fields": {"follows": "1..5", "keeps": "1..5", "reason": "text"},
    }
    select = {"of": of, "where": PERFECT, "draw": "until_enough"}
    return {**fields, "scorers": {"judge": scorer}, "edit": {**fields["edit"], "select": select, "inverse": True}}


def is_right(row: dict[str, Any]) -> bool:
    """Whether a row's edited image is its input after the instruction, with nothing else changed."""
    before, after = (
        read(Image.open(io.BytesIO(row[name]["bytes"])).convert("RGB")) for name in ("input_image", "edited_image")
    )
    moved = np.hypot(after.centre[0] - before.centre[0], after.centre[1] - before.centre[1])
    return not after.differences(edited(before.scene, row["edit_prompt"])) and moved <= FURTHEST_MOVE


def rows_in(output: Path, area: str = "data") -> list[dict[str, Any]]:
    """The rows of one of a dataset's folders."""
    return [row for path in sorted(output.glob(f"{area}/*.parquet")) for row in pq.read_table(path).to_pylist()]


def share_right(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows, and the share of them that is right, 0..1."""
    right = sum(map(is_right, rows))
    return {"rows": len(rows), "right": round(right / len(rows), 4) if rows else None}


def build(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Build a recipe by the command; returns the figures of the run."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    command = [sys.executable, "-m", "imagemill", "build", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    lines = Path(fields["output"], "runs.jsonl").read_text().splitlines()
    figures: dict[str, Any] = json.loads(lines[-1])
    return figures


def measure(images: int, count: int, of: int, steps: int | None, folder: Path) -> dict[str, Any]:
    """Shares of right edits, unjudged and judged, and what it took."""
    server = ChatServer(see)
    server.troubles = trouble
    with server.running():
        plain = recipe(write_images(folder, images), folder / "out", server.address, count, steps)
        first = build(plain, folder)
        unjudged = share_right(rows_in(folder / "out"))
        second = build(judged(plain, server.address, of), folder)
        rows = rows_in(folder / "out")
        answered_twice = {question: times for question, times in server.asked.items() if times > 2}
    return {
        "unjudged": unjudged,
        "judged": share_right([row for row in rows if not row["inverse"]]),
        "inverse": share_right([row for row in rows if row["inverse"]]),
        "generated": [first["generated"], second["generated"]],
        "set_aside": [first["set_aside"], second["set_aside"]],
        "none_passed": second["none_passed"],
        "requests": [first.get("asked"), second.get("asked")],
        "questions": len(server.asked),
        "asked_more_than_twice": len(answered_twice),
        "seconds": [first["seconds"], second["seconds"]],
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--count", type=int, default=4, help="instructions for each image")
    parser.add_argument("--of", type=int, default=4, help="candidates of each edit")
    parser.add_argument("--steps", type=int, help="denoising steps of the edits; absent: the model's default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments.images, arguments.count, arguments.of, arguments.steps, Path(folder))
    command = ["python", "-m", "benchmarks.words", *sys.argv[1:]]
    figures |= {"command": shlex.join(command), "date": date.today().isoformat()}
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
