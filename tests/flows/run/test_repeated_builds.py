"""A process that builds one dataset after the other keeps no thread and no file of any of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT, small_fields

SETTLED = 3
"""Builds after which all that a process keeps for later builds is there."""

SCRIPT = r"""
import json, os, re, sys, threading, time

from imagemill.flows.build_dataset import build_dataset

fields, count, settled = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def kept():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(re.sub(r":\[\d+\]", "", os.readlink(f"/proc/self/fd/{fd}")))
        except FileNotFoundError:
            pass  # the one that listed the folder
    threads = [re.sub(r"[\d-]+", "", thread.name) for thread in threading.enumerate()]
    return {"threads": threads, "native threads": ["x"] * len(os.listdir("/proc/self/task")), "files": links}

def is_more(now, before):
    return any(len(now[name]) > len(before[name]) for name in now)

for number in range(1, count + 1):
    build_dataset({**fields, "name": f"set-{number}", "output": f"{fields['output']}-{number}"})
    if number == settled:
        first = kept()
deadline = time.monotonic() + 60
# What is closing has a moment: a socket closes when its event loop gets to it.
while is_more(last := kept(), first) and time.monotonic() < deadline:
    time.sleep(0.1)
print(json.dumps({"first": first, "last": last}))
"""


def grown(builds: int, folder: Path, model: Path) -> dict[str, Counter[str]]:
    """What a process has more of after the last of its builds than after the third, each of another dataset."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(small_fields(folder, model)), str(builds), str(SETTLED)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    more = {kind: Counter(last) - Counter(counts["first"][kind]) for kind, last in counts["last"].items()}
    # pyarrow's pools begin their threads one by one, on demand; what a build leaves, each of them leaves.
    if more["native threads"].total() < builds - SETTLED:
        del more["native threads"]
    return {kind: names for kind, names in more.items() if names}


def test_later_builds_of_a_process_add_no_thread_and_no_file(
    server: str, cluster: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_CLUSTER", cluster)
    assert grown(5, tmp_path, model) == {}


@pytest.mark.long
def test_ten_builds_with_clusters_of_their_own_leave_no_thread_and_no_file(server: str, model: Path, tmp_path: Path):
    assert grown(10, tmp_path, model) == {}
