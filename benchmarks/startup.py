"""Start-up time: python benchmarks/startup.py [--rounds 5]

A Prefect server is running before the clock starts. Prints median seconds of `imagemill --help`; of the imports of the
two processes of a build; and of `imagemill build` of 4 rows with the bundled model into a new folder, divided into the
time until the flow runs, the flow itself (planning, waiting for a worker, loading, generating), and the time after it.
Writes startup.json.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = "from imagemill.flows.cli.main import main; main()"
IMPORTS = {
    "import of imagemill.flows.build_dataset": "import imagemill.flows.build_dataset",
    "import of Prefect": "import prefect, prefect.flows",
    "import of what a worker needs": "import imagemill.models.drawing.draw; from diffusers import FluxPipeline",
    "import of torch": "import torch",
}


def seconds(*command: str) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Start a Prefect server and yield its address once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        process.wait(30)


def build(prompts: Path, output: Path) -> dict[str, float]:
    """Build 4 rows and return the seconds of each phase."""
    command = [sys.executable, "-c", COMMAND, "build", "--prompts", str(prompts), "--output", str(output)]
    started, clock = time.time(), time.perf_counter()
    subprocess.run([*command, "--generate.steps", "4"], check=True, capture_output=True, cwd=ROOT)
    wall = time.perf_counter() - clock
    run = json.loads((output / "runs.jsonl").read_text().splitlines()[-1])
    # The flow's own clock stops when it writes this file.
    flow_ended = (output / "runs.jsonl").stat().st_mtime - started
    return {
        "imagemill build, 4 rows": wall,
        "of that, until the flow runs": flow_ended - run["seconds"],
        "of that, the flow": run["seconds"],
        "of that, after the flow": wall - flow_ended,
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    python = (sys.executable, "-c")
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = folder / "prompts.txt"
        prompts.write_text("a red circle\na blue star\na green ring\na large yellow square\n")
        with server(folder) as address:
            os.environ |= {"PREFECT_API_URL": address, "DO_NOT_TRACK": "1"}
            for turn in range(options.rounds + 1):
                found = {"imagemill --help": seconds(*python, COMMAND, "--help")}
                found |= {what: seconds(*python, code) for what, code in IMPORTS.items()}
                found |= build(prompts, folder / f"out-{turn}")
                # The first round fills the disk cache.
                for what, taken in found.items():
                    figures.setdefault(what, []).extend([taken] if turn else [])
    print(f"medians of {options.rounds}, seconds")
    for what, taken in figures.items():
        print(f"{statistics.median(taken):7.2f}  {what}")
    Path("startup.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
