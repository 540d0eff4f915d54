"""Builder of the datasets beside it: run once, by the version that they stand for, and never again.

    git worktree add OLD 23b7fcf && cd OLD && make setup && .venv/bin/python .../tests/old/make_datasets.py FOLDER

Writes FOLDER/<case>/ with the recipe, its prompts and the dataset, and FOLDER/expected.json with what the same version
makes of each when it builds once more: its fingerprint, its rows, and how many images it generates.
"""

from __future__ import annotations

import datetime
import decimal
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROOT = Path.cwd()
IMAGES = ROOT / "data" / "samples" / "pictures"
PROMPTS = [json.loads(line)["prompt"] for line in (ROOT / "data/samples/shapes.jsonl").read_text().splitlines()]
TINY = {"model": "bundled", "steps": 2, "batch_size": 2}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def text_to_image(folder: Path) -> dict[str, Any]:
    """Carried columns of each kind, a row's own settings, a prompt that stands twice, and one row that is set aside."""
    jsonl(
        folder / "prompts.jsonl",
        [
            {"prompt": PROMPTS[0], "text": "ä", "whole": 1, "real": 0.5, "yes": True, "list": [1, 2], "deep": {"a": 1}},
            {"prompt": PROMPTS[1], "id": "own", "text": None, "whole": 2, "real": 3, "yes": False, "mixed": "three"},
            {"prompt": PROMPTS[2], "seed": 7, "mixed": 3, "large": 2**60, "yes": None},
            {"prompt": PROMPTS[3], "width": 64, "height": 96, "steps": 3, "real": 1e300},
            {"prompt": "", "text": "this row is set aside"},
            {"prompt": PROMPTS[0], "text": "the first prompt once more"},
        ],
    )
    return {"prompts": "prompts.jsonl", "generate": TINY, "max_set_aside": 0.5}


def chain(folder: Path) -> dict[str, Any]:
    """Images that are generated and edited, from a CSV with headings in capitals."""
    lines = [f'{n},"{PROMPTS[n]}",make the background yellow,{n % 2}' for n in range(4)]
    (folder / "prompts.csv").write_text("ID,Prompt,Edit_Prompt,Seed\n" + "\n".join(lines) + "\n")
    return {"prompts": "prompts.csv", "generate": TINY, "edit": TINY, "image_format": "jpeg", "quality": 90}


def chain_of_three(folder: Path) -> dict[str, Any]:
    """A chain that the recipe's ``steps`` name, with instructions of its own, from a TSV."""
    (folder / "prompts.tsv").write_text("prompt\tscore\n" + "".join(f"{PROMPTS[n]}\t0.{n}\n" for n in range(2)))
    steps = [
        {"generate": TINY},
        {"edit": TINY | {"instructions": ["make the background purple", "make it small"]}},
        {"edit": TINY | {"instructions": ["make the background orange"]}},
    ]
    return {"prompts": "prompts.tsv", "steps": steps}


def multi_turn(folder: Path) -> dict[str, Any]:
    """Instructions that follow each other, for images that are given as files."""
    shutil.copy(ROOT / "data/samples/conversations.jsonl", folder / "prompts.jsonl")
    shutil.copytree(IMAGES, folder / "pictures")
    return {"prompts": "prompts.jsonl", "edit": TINY | {"multi_turn": True}, "image_format": "webp"}


def given_images(folder: Path) -> dict[str, Any]:
    """Images embedded in Parquet, beside columns of the types that Parquet has and JSON has not."""
    pictures = [path.read_bytes() for path in sorted(IMAGES.iterdir())]
    columns = {
        "images": pa.array([{"bytes": picture, "path": None} for picture in pictures]),
        "edit_prompt": pa.array(["make the background blue"] * 4),
        "day": pa.array([datetime.date(2026, 1, n + 1) for n in range(4)]),
        "moment": pa.array([datetime.datetime(2026, 1, n + 1, 12) for n in range(4)], pa.timestamp("us")),
        "price": pa.array([decimal.Decimal(f"{n}.50") for n in range(4)]),
        "small": pa.array(range(4), pa.uint8()),
        "half": pa.array([0.25 * n for n in range(4)], pa.float32()),
        "raw": pa.array([bytes([n]) for n in range(4)]),
        "tags": pa.array([["a"], [], None, ["b", "c"]]),
        "about": pa.array([{"x": n} for n in range(4)]),
    }
    pq.write_table(pa.table(columns), folder / "prompts.parquet")
    return {"prompts": "prompts.parquet", "edit": TINY}


def sweep(folder: Path) -> dict[str, Any]:
    """A template, a sweep over it, and a seed that was drawn once."""
    values = {"size": ["small", "large"], "colour": ["red", "green", "blue"]}
    template = {"text": "a {size} {colour} star on a white background", "values": values, "sample": 3}
    return {"template": template, "sweep": {"steps": [2, 3]}, "generate": TINY | {"seed": -1}}


def grown(folder: Path) -> dict[str, Any]:
    """A dataset that grew: prompts were added, one went and its row was kept, and small files were merged."""
    (folder / "prompts.txt").write_text("\n".join(PROMPTS[:4]) + "\n")
    return {"prompts": "prompts.txt", "generate": TINY, "on_removed": "keep", "shard_size": 2}


def killed(folder: Path) -> dict[str, Any]:
    """A build that was killed: rows in the dataset, images that wait for their edits, and some not generated yet."""
    rows = [{"prompt": PROMPTS[n], "id": f"row-{n}", "edit_prompt": "make the background blue"} for n in range(12)]
    jsonl(folder / "prompts.jsonl", [*rows[:5], {"prompt": "", "id": "bad"}, *rows[5:]])
    slow = TINY | {"steps": 60}
    return {"prompts": "prompts.jsonl", "generate": slow, "edit": slow, "shard_size": 4, "max_set_aside": 0.5}


def killed_at_the_end(folder: Path) -> dict[str, Any]:
    """A build that was killed when every image was staged and no row was in the dataset."""
    (folder / "prompts.txt").write_text("\n".join(PROMPTS[6:14]) + "\n")
    return {"prompts": "prompts.txt", "generate": TINY | {"steps": 20}, "image_format": "jpeg"}


def killed_and_grown(folder: Path) -> dict[str, Any]:
    """A finished dataset whose next build was killed when the added images were staged."""
    (folder / "prompts.txt").write_text("\n".join(PROMPTS[14:17]) + "\n")
    return {"prompts": "prompts.txt", "generate": TINY | {"steps": 20}}


WHOLE = [text_to_image, chain, chain_of_three, multi_turn, given_images, sweep, grown]
KILLED = [killed, killed_at_the_end, killed_and_grown]


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [ROOT / ".venv/bin/imagemill", "build", "recipe.yaml", "--workers", "1"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def build(folder: Path) -> dict[str, Any]:
    process = start(folder)
    out, errors = process.communicate()
    assert process.returncode == 0, (out + errors).decode()
    return json.loads((folder / "dataset/runs.jsonl").read_text().splitlines()[-1])


def staged(folder: Path) -> int:
    sys.path.insert(0, str(ROOT))
    from data.staging import Staging

    place = folder / "dataset/.imagemill/staged"
    return len(Staging(place).names()) if place.is_dir() else 0


def kill(folder: Path, when: Callable[[Path], bool], stop_the_flow: bool = False) -> None:
    """Build until ``when`` says so, and kill every process. A stopped flow commits nothing of what is staged."""
    process = start(folder)
    while not when(folder):
        assert process.poll() is None, process.communicate()
        if stop_the_flow and staged(folder):
            process.send_signal(signal.SIGSTOP)
        time.sleep(0.002)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.wait()
    psutil.wait_procs(family[1:])


def row_keys(file: Path) -> list[str]:
    return pq.read_table(file, columns=["row_key"])["row_key"].to_pylist()


def main(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text()) if (folder / "expected.json").exists() else {}
    for make in [*WHOLE, *KILLED]:
        name = make.__name__.replace("_", "-")
        case = folder / name
        if case.exists():
            continue
        case.mkdir(parents=True)
        recipe = {"name": name, "output": "dataset"} | make(case)
        (case / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        if make not in KILLED:
            build(case)
        if make is grown:
            (case / "prompts.txt").write_text("\n".join(PROMPTS[1:6]) + "\n")
            build(case)
        if make is killed:
            kill(case, lambda case: bool(list(case.glob("dataset/data/*.parquet"))) and staged(case) > 1)
        if make is killed_at_the_end:
            kill(case, lambda case: staged(case) == 8, stop_the_flow=True)
        if make is killed_and_grown:
            build(case)
            (case / "prompts.txt").write_text("\n".join(PROMPTS[14:20]) + "\n")
            kill(case, lambda case: staged(case) == 3, stop_the_flow=True)
        # A sheet of previews is most of a folder's bytes and nothing that a build reads.
        (case / "dataset/contact_sheet.jpg").unlink(missing_ok=True)
        copy = folder / "again"
        shutil.copytree(case, copy)
        run = build(copy)
        expected[name] = {key: run[key] for key in ("rows", "set_aside")} | {"generated": run["drawn"]}
        if not run["drawn"]:
            # Of what is generated, the pixels depend on the machine.
            expected[name]["fingerprint"] = run["fingerprint"]
        files = (copy / "dataset/data").glob("*.parquet")
        expected[name]["row_keys"] = sorted(key for file in files for key in row_keys(file))
        shutil.rmtree(copy)
        (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
