"""Judged builds that are killed: nothing is generated or scored twice, and every choice is that of one run."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.staging.store import Staging
from tests.commands import Launch
from tests.conftest import wait_until, write_prompts
from tests.flows.build.test_judged_builds import rows_in
from tests.starter import Started

SCORERS = {
    "sharp": {"kind": "pixels", "measure": "sharpness"},
    "changed": {"kind": "pixels", "measure": "changed_share"},
}


@pytest.fixture
def judged(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe of twelve prompts in four shards: the best of two images, and of two edits, and back."""
    rows = [{"prompt": f"number {number}", "inverse_edit": f"back {number}"} for number in range(12)]
    write_prompts(Path(fields["prompts"]), rows)
    generate = {**fields["generate"], "select": {"of": 2, "best": "sharp"}}
    edit = {**fields["edit"], "select": {"of": 2, "best": "changed"}, "inverse": True}
    return {**fields, "generate": generate, "edit": edit, "scorers": SCORERS, "shard_size": 6, "splits": {"test": 0.4}}


def in_journal(output: Path) -> list[str]:
    """The requests that the journal answers."""
    return [score.request for score in ScoreJournal(output / ".imagemill" / "scores").read()]


PHASES: dict[str, Callable[[Path], bool]] = {
    "generating": lambda output: bool(Staging(output / ".imagemill" / "staged").names()),
    "scoring": lambda output: len(in_journal(output)) >= 6,
    "editing": lambda output: len(in_journal(output)) >= 16,
    "writing data": lambda output: any(output.glob("data/*")),
    "writing rejected": lambda output: any(output.glob("rejected/*")),
    "placing": lambda output: any(output.glob("scores/*")),
}
"""Phase -> whether the folder shows that a build has reached it."""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_kills_score_nothing_twice_and_change_no_choice(judged: dict, launch: Launch, tmp_path: Path, workers: int):
    def start(fields: dict[str, Any]) -> Started:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(fields))
        # Not the shared cluster: its workers go on with what a killed build has given them.
        return launch("build", str(recipe), "--workers", str(workers))

    undisturbed = tmp_path / "undisturbed"
    assert start({**judged, "output": str(undisturbed), "shard_size": 4}).wait(300) == 0
    output, chance = Path(judged["output"]), random.Random(workers)
    for phase, reached in PHASES.items():
        process = start(judged)
        wait_until(lambda p=process, at=reached: at(output) or p.poll() is not None, phase)
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        process.wait()
        repeated = [request for request, times in Counter(in_journal(output)).items() if times > 1]
        assert not repeated, phase
    known = len(in_journal(output))
    assert known or any(output.glob("scores/*"))
    last = start(judged)
    assert last.wait(300) == 0, last.communicate()
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (output, undisturbed)]
    for name in ("fingerprint", "candidates_fingerprint"):
        assert manifests[0][name] == manifests[1][name]
    # 24 images, each looked at by one scorer, and 24 edits by two.
    run = json.loads((output / "runs.jsonl").read_text().splitlines()[-1])
    assert run["scored"] <= 72 - known
    places = [
        {(row["row_key"], area) for area in ("data", "rejected") for row in rows_in(folder, area)}
        for folder in (output, undisturbed)
    ]
    assert places[0] == places[1]
