"""Tables of a build's report: the workers, and the run before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.records import WorkerStats
from imagemill.flows.run.dashboard_text import time_left
from imagemill.flows.run.report.figures import MAX_WORKERS, figures_before, last_run, workers_section
from imagemill.tasks.progress import Progress


def progress_of(**workers: WorkerStats) -> Progress:
    made = Progress()
    made.started, made.ended = 100.0, 150.0
    made.workers.update(workers)
    return made


def test_each_worker_has_a_line_with_its_device_rate_memory_and_utilisation():
    gpu = WorkerStats("NVIDIA H200", 100, 50, 5, 40, 2, 0, 70.25, utilisation=950, samples=10)
    section = workers_section(progress_of(**{"gpu 0": gpu, "gpu 1": WorkerStats("cpu", generated=50, peak_gib=0.5)}))
    lines = section.strip().splitlines()
    line = "| gpu 0 | NVIDIA H200 | 100 | 2.00 | 40 s generating, 2 s waiting, 5 s loading | 70.2 GiB | 95 % |"
    assert lines[-2] == line
    assert lines[-1] == "| gpu 1 | cpu | 50 | 1.00 | 0 s generating, 0 s waiting, 0 s loading | 0.5 GiB |  |"


def test_the_table_of_workers_is_bounded_and_their_names_are_text():
    named = {f"tls://10.0.0.{number}|x": WorkerStats("cpu", generated=1) for number in range(40)}
    section = workers_section(progress_of(**named))
    assert section.count("\n| tls") == MAX_WORKERS
    assert f"The first {MAX_WORKERS} of 40." in section
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in section.splitlines() if line.startswith("|"))


def test_a_build_without_workers_has_no_table():
    assert workers_section(Progress()) == ""


def test_the_run_before_is_the_last_line_of_runs_jsonl(tmp_path: Path):
    run = {"started": "2026-11-28T18:46:03+00:00", "status": "complete", "generated": 2000, "images_per_second": 3.1}
    run |= {"seconds": 645.2, "device_idle": 0.0116, "rows": 2000, "workers": {"0": {}, "1": {}}}
    (tmp_path / "runs.jsonl").write_text('{"status": "stopped"}\n' + json.dumps(run) + "\n")
    before = figures_before(last_run(Folder(str(tmp_path))))
    assert before[""] == "last run<br>2026-11-28<br>18:46, complete"
    shown = {"generated": "2,000", "images/s": "3.10", "time": "11 min", "device idle": "1.2%", "workers": "2"}
    assert shown.items() <= before.items()


@pytest.mark.parametrize("run", [{}, {"seconds": None, "device_idle": None, "workers": []}, {"status": "a|b\n<c>"}])
def test_a_line_of_an_earlier_version_or_of_another_hand_shows_what_it_has(run: dict):
    before = figures_before(run)
    assert set(before) == {""}
    assert not re.search(r"\n|(?<!\\)[<|]", before[""].replace("<br>", ""))


def test_a_first_run_has_none_beside_it(tmp_path: Path):
    assert figures_before(last_run(Folder(str(tmp_path)))) == {}


def test_the_time_left_has_an_end_by_the_clock():
    assert re.fullmatch(r", about 20 min left, ends about \d{4}-\d\d-\d\d \d\d:\d\d \S+", time_left(1200.0))
    assert time_left(None) == time_left(0.0) == ""
