"""Interrupted builds: killed, stopped, or out of disk; images are kept, and readers see only whole files."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from imagemill.data.staging.store import Staging
from tests.commands import Launch
from tests.conftest import Build, wait_until, write_prompts
from tests.flows.build.test_build_dataset import rows_of
from tests.starter import Started

Start = Callable[..., Started]

PROMPTS = [f"number {number}" for number in range(12)]


@pytest.fixture
def recipe(fields: dict, tmp_path: Path) -> Path:
    """A recipe file of twelve prompts in six shards, each generated and edited."""
    write_prompts(Path(fields["prompts"]), PROMPTS)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


@pytest.fixture
def start(server: str, cluster: str, recipe: Path, launch: Launch) -> Start:
    """Starts `imagemill build` of the recipe in a new process, on the shared cluster."""

    def run(*arguments: str, constants: dict[str, int] | None = None) -> Started:
        return launch("build", str(recipe), *(arguments or ("--cluster", cluster)), constants=constants)

    return run


def found(output: Path) -> int:
    """Number of images that a build would reuse, committed or staged; a kill may leave one in both places."""
    committed = {row[key] for row in rows_of(output) for key in ("image_key", "input_key")}
    return len(committed | {key for key, _ in Staging(output / ".imagemill" / "staged").names()})


def runs(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "runs.jsonl").read_text().splitlines()]


def start_over(output: Path) -> None:
    # Renamed first: the cluster's workers are still running, and may stage more images in it.
    shutil.rmtree(output.rename(output.with_name(f"old-{uuid4()}")))


def undisturbed(build: Build, fields: dict, tmp_path: Path) -> str:
    return build(fields, {"output": str(tmp_path / "undisturbed")})["fingerprint"]


def has_merged(output: Path) -> bool:
    return (output / ".imagemill" / "merge.json").exists() or any(output.glob("data/train-*-*.parquet"))


def all_written(output: Path) -> bool:
    rows = 0
    for path in output.glob("data/*.parquet"):
        # A file that disappears was merged into another, which may not be in this listing.
        with suppress(FileNotFoundError):
            rows += pq.read_metadata(path).num_rows
    return rows >= len(PROMPTS)


PHASES: dict[str, Callable[[Path], bool]] = {
    "starting": lambda output: (output / ".imagemill" / "lock").exists(),
    "loading and planning": lambda output: (output / ".imagemill" / "plan.sqlite").exists(),
    "drawing": lambda output: bool(Staging(output / ".imagemill" / "staged").names()),
    "writing": lambda output: (output / "data").exists() and any((output / "data").iterdir()),
    "merging": has_merged,
    "publishing": all_written,
}
"""Phase -> whether the folder shows that a build has reached it."""


@pytest.mark.slow
def test_twenty_kills_in_every_phase_lose_no_image_and_change_no_pixel(
    build: Build, fields: dict, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr("imagemill.data.dataset.files.compaction.SMALL_BYTES", 0)
        expected, output = undisturbed(build, fields, tmp_path), Path(fields["output"])
    # Files of two shards are merged while others are generated, and the rest at the end.
    size = max(path.stat().st_size for path in tmp_path.glob("undisturbed/data/*"))
    merging = {
        "imagemill.data.dataset.files.compaction:SMALL_BYTES": size * 3 // 2,
        "imagemill.data.dataset.files.compaction:FILE_BYTES": size * 5 // 2,
    }
    chance, finished, reached = random.Random(20), 0, Counter()
    for phase in ([*PHASES] * 4)[:20]:
        # Each build resumes the killed one, or starts over if that has passed the phase.
        if output.exists() and PHASES[phase](output):
            start_over(output)
        process = start(constants=merging)
        wait_until(lambda p=process, at=PHASES[phase]: at(output) or p.poll() is not None, phase)
        time.sleep(chance.uniform(0, 0.2))
        assert process.poll() in (None, 0), process.communicate()
        process.kill()
        process.wait()
        reached[phase] += 1 if PHASES[phase](output) else 0
        for path in output.glob("data/*"):
            pq.read_table(path)
        if (output / "manifest.json").exists():
            finished += 1
            assert json.loads((output / "manifest.json").read_text())["fingerprint"] == expected
    assert all(reached[phase] for phase in PHASES), reached
    assert finished < 20
    if finished and (output / "manifest.json").exists():
        start_over(output)
    before = found(output) if output.exists() else 0
    last = build(fields)
    assert last["fingerprint"] == expected
    assert last["generated"] <= 24 - before
    left = {path.name for path in (output / ".imagemill").iterdir()}
    assert left == {"files.jsonl", "folder.json", "paths.json"}


def test_rerun_after_a_kill_generates_only_the_missing_images(build: Build, fields: dict, start: Start, tmp_path: Path):
    expected, output = undisturbed(build, fields, tmp_path), Path(fields["output"])
    process = start()
    wait_until(lambda: found(output) >= 6, "six images")
    process.kill()
    process.wait()
    before = found(output)
    figures = build(fields)
    assert before >= 6
    assert figures["generated"] <= 24 - before
    assert figures["fingerprint"] == expected


def test_a_killed_build_has_its_line_in_runs_jsonl(build: Build, fields: dict, start: Start):
    output = Path(fields["output"])
    process = start()
    wait_until(lambda: found(output) >= 12, "twelve images")
    process.kill()
    process.wait()
    figures = build(fields)
    killed, complete = runs(output)
    assert (killed["status"], complete["status"]) == ("killed", "complete")
    assert killed["error"].startswith("its process ended without a word")
    # But for batches whose events were under way.
    assert 0 < killed["generated"] <= 24 - figures["generated"]
    assert not (output / ".imagemill" / "run.json").exists()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_build_that_is_interrupted_stops_and_can_be_resumed(
    build: Build, fields: dict, start: Start, tmp_path: Path, sign: signal.Signals
):
    output = Path(fields["output"])
    process = start()
    wait_until(lambda: found(output) >= 2, "two images")
    process.send_signal(sign)
    _, errors = process.communicate(timeout=300)
    assert process.returncode not in (0, 2), errors
    assert "imagemill: stopped" in errors
    assert "Traceback" not in errors
    line = runs(output)[-1]
    assert line["status"] == "stopped"
    assert line["error"] in ("ended by SIGTERM", "interrupted by Ctrl-C")
    assert not (output / ".imagemill" / "lock").exists()
    before = found(output)
    assert build(fields)["generated"] <= 24 - before


@pytest.mark.slow
def test_no_worker_outlives_a_killed_build_not_even_a_hanging_one(
    start: Start, fields: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:deadly")
    monkeypatch.setenv("IMAGEMILL_FAULTS", str(tmp_path))
    write_prompts(Path(fields["prompts"]), ["seize the day"])
    process = start("--workers", "1")
    wait_until((tmp_path / "seize the day").exists, "a batch")
    # The worker, and the process that it was forked from.
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 2
    process.kill()
    process.wait()
    try:
        wait_until(lambda: not any(map(is_alive, started)), "the workers to end", seconds=10)
    finally:
        for child in filter(is_alive, started):
            child.kill()


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_reader_sees_only_whole_files_while_a_build_runs(start: Start, fields: dict):
    data, process, broken, reads = Path(fields["output"]) / "data", start(), [], []
    is_running = True
    while is_running:
        # Once more after the end.
        is_running = process.poll() is None
        for path in data.glob("*"):
            try:
                # Opens the file twice: the content under a name never changes.
                reads.append(pq.read_table(path).num_rows)
            except FileNotFoundError:
                continue  # Merged into another file since it was listed.
            except (pa.ArrowException, OSError) as error:
                broken.append((path.name, error))
    assert process.returncode == 0, process.communicate()
    assert broken == []
    assert sum(reads) >= 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KiB; skips the test if this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_stops_the_build_with_one_message_and_keeps_finished_images(
    build: Build, fields: dict, recipe: Path, start: Start, small_disk: Path, tmp_path: Path
):
    expected = undisturbed(build, fields, tmp_path)
    fields["output"] = str(small_disk / "out")
    recipe.write_text(yaml.safe_dump(fields))
    _, errors = (process := start()).communicate(timeout=300)
    assert process.returncode == 1
    assert "No space left on device. Free disk space and run the build again" in errors
    assert "Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    figures = build(fields)
    assert (figures["status"], figures["fingerprint"]) == ("complete", expected)
