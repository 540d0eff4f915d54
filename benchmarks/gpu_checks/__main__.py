"""What reading could not settle about GPUs, asked of one: python -m benchmarks.gpu_checks [--tiny] [--only NAME ...]

Each check answers questions with yes or no and figures; "yes" is what imagemill hopes for. A check runs in a process
that ends after LIMITS seconds, so that one that hangs or loses the device takes no other with it. Ten minutes in all:
what is not begun by then is not run. Needs the folder of this repository, torch and imagemill's own requirements, but
no Prefect, and downloads nothing: weights are random (model.py). Prints a table, and writes gpu_checks.json.

--tiny tries the checks themselves, with tiny models, and also on a CPU, as far as they go there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu_checks.check import ROOT, Setup
from benchmarks.gpu_checks.model import save_models

LIMITS = {
    "load_path": 60,
    "resident": 60,
    "out_of_memory": 60,
    "lost": 80,
    "offload": 60,
    "pinned": 60,
    "neighbours": 60,
    "host_waits": 40,
    "fragmentation": 80,
    "quantized": 90,
    "checkers": 30,
    "lora_compiled": 100,
    "steering": 80,
    "batch_size": 150,
}
"""Check, a module of this folder -> the most seconds that it takes; in the order in which they run."""


def answers(name: str, setup: Setup) -> Iterator[dict[str, Any]]:
    """The answers of one check, run in this process."""
    for answer in importlib.import_module(f"benchmarks.gpu_checks.{name}").run(setup):
        yield {"check": name, **asdict(answer)}


def answers_apart(name: str, folder: Path, tiny: bool, seconds: float) -> list[dict[str, Any]]:
    """The answers of one check, run in another process for at most so many seconds."""
    command = [sys.executable, "-m", "benchmarks.gpu_checks", "--run", name, "--folder", str(folder)]
    started = time.monotonic()
    with (folder / f"{name}.log").open("w") as log:
        try:
            subprocess.run(command + ["--tiny"] * tiny, cwd=ROOT, stderr=log, stdout=log, timeout=seconds, check=False)
            end = None
        except subprocess.TimeoutExpired:
            end = f"stopped after {seconds:.0f} s"
    lines = (folder / f"{name}.log").read_text(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"check"')]
    if end or not any(line == "done" for line in lines):
        reason = end or next((line for line in reversed(lines) if line.strip()), "it printed nothing")
        found.append({"check": name, "question": "", "answer": f"failed: {reason[:200]}", "figures": {}})
    if found:
        found[-1]["seconds"] = round(time.monotonic() - started, 1)
    return found


def print_answers(found: list[dict[str, Any]]) -> None:
    """Print lines of the table."""
    for answer in found:
        figures = ", ".join(f"{name} {value}" for name, value in answer["figures"].items())
        print(f"{answer['check']:14} {answer['answer']:8} {answer['question']}  {figures}", flush=True)


def main() -> None:
    """Run the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny models, also on a CPU: tries the checks")
    parser.add_argument(
        "--only", nargs="+", choices=LIMITS, default=list(LIMITS), metavar="NAME", help=", ".join(LIMITS)
    )
    parser.add_argument("--seconds", type=float, default=600, help="for all checks")
    parser.add_argument("--json", type=Path, default=Path("gpu_checks.json"))
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        scratch = options.folder / options.run
        scratch.mkdir()
        setup = Setup(save_models(options.folder, options.tiny), scratch, options.tiny)
        for answer in answers(options.run, setup):
            print(json.dumps(answer), flush=True)
        print("done", flush=True)
        # Skips the teardown of a device that may be lost.
        os._exit(0)
    ends, found = time.monotonic() + options.seconds, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Hashes of files, batch sizes and compiled graphs: none of this machine's, and shared by the checks.
        os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        # As a worker has it (tasks/runner/gpus.py).
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
        model = [sys.executable, "-m", "benchmarks.gpu_checks.model", str(folder)]
        subprocess.run(model + ["--tiny"] * options.tiny, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        for check in options.only:
            left = ends - time.monotonic()
            if left < 10:
                new = [{"check": check, "question": "", "answer": "not run: no time was left", "figures": {}}]
            else:
                new = answers_apart(check, folder, options.tiny, min(left, LIMITS[check] * (5 if options.tiny else 1)))
            found += new
            print_answers(new)
            options.json.write_text(json.dumps({"answers": found}, indent=2) + "\n")
    print(f"{sum(answer['answer'] == 'no' for answer in found)} no, written to {options.json}")


if __name__ == "__main__":
    main()
