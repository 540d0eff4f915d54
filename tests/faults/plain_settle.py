"""Rows that move to other places, killed at each call that writes; without a model and without Prefect's engine.

python -m tests.faults.plain_settle FOLDER STEP, with the shim loaded: prints a line of JSON for every STEPth point,
with what the kill left and what came of the next rule.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.files.placing import Placement, settle
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.reader import read_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.images.codec import Encoding, encode_image
from tests.faults.shim import KILL, Faults

SCHEMA = DatasetSchema(False, False, Encoding("png"), {}, outcomes=(OutcomeColumn("score_fits", "float32"),))

ROWS = 12


def key_of(number: int) -> str:
    return f"{number:032x}"


def before(keys: Sequence[str]) -> Mapping[str, Placement]:
    """The rows as they are at first: nine in data/, three in rejected/."""
    return {key: Placement("data" if int(key, 16) < 9 else "rejected", "train", {"score_fits": 0.5}) for key in keys}


def after(keys: Sequence[str]) -> Mapping[str, Placement]:
    """Another rule: rows go out and come back, one leaves, some get a split, and in one file only a score changes."""
    places = {0: ("rejected", "train"), 1: ("data", "test"), 4: ("rejected", "train"), 5: (None, ""), 10: ("data", "x")}
    found = {}
    for key in keys:
        number = int(key, 16)
        area, split = places.get(number, ("data" if number < 9 else "rejected", "train"))
        found[key] = Placement(area, split, {"score_fits": 0.75 if number == 7 else 0.5})
    return found


def begin(root: Path) -> None:
    """A dataset of four files."""
    folder = Folder(root)
    for first in range(0, ROWS, 3):
        area = "data" if first < 9 else "rejected"
        schema = SCHEMA if area == "data" else SCHEMA.rejected()
        scratch = folder.scratch("shard.parquet")
        rows = [_row(number) for number in range(first, first + 3)]
        folder.commit(scratch, first // 3, write_rows(scratch, schema, rows), area=area)
    shutil.rmtree(folder.tmp)


def _row(number: int) -> dict[str, Any]:
    image = encode_image(Image.new("RGB", (8, 8), (number, 0, 0)), SCHEMA.encoding, "")
    key = key_of(number)
    return {"image": {"bytes": image, "path": "x.png"}, "id": str(number), "row_key": key, "score_fits": 0.5}


def places(root: Path) -> dict[str, list[tuple[str, float | None]]]:
    """Row key -> (area/split, score) of each of its rows. Every file that is visible is whole."""
    found: dict[str, list[tuple[str, float | None]]] = {}
    for path in sorted(root.glob("[dr]*/*.parquet")):
        for row in read_rows(path):
            assert row["image"]["bytes"]
            place = f"{path.parent.name}/{path.name.partition('-')[0]}"
            found.setdefault(row["row_key"], []).append((place, row["score_fits"]))
    return found


def in_child(root: Path, rule: Any) -> int:
    """Settle in a forked process, after a look at the journal as a build has it; returns its exit code."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        folder = Folder(root)
        assert not [path for area in folder.areas for path in area.committed()[1]]
        settle(folder, SCHEMA, rule)
    except BaseException:  # noqa: BLE001 - whatever a test's process raises is what the test wants to see
        traceback.print_exc()
        os._exit(3)
    os._exit(0)


def one_point(faults: Faults, top: Path, at: int) -> dict[str, Any]:
    """A kill at one call; then the same rule in one copy of what it left, and the old rule in another."""
    root, other = top / "out", top / "other"
    for path in (root, other):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(top / "begun", root)
    faults.arm(KILL, f"{root}/*", at)
    code = in_child(root, after)
    failed = faults.failed
    faults.disarm()
    left = places(root)
    shutil.copytree(root, other)
    codes = [in_child(root, after), in_child(other, before)]
    return {
        "call": faults.first[:200],
        "killed": (code, failed),
        "lost": [number for number in range(ROWS) if number != 5 and key_of(number) not in left],
        "codes": codes,
        "on": places(root),
        "back": places(other),
        "merges": [path.name for path in (root / ".imagemill").glob("merge*")],
    }


def main(top: Path, step: int) -> None:
    """Print the calls and the ends of undisturbed processes, then a line for each point."""
    faults = Faults(Path(os.environ["FAULTS_CONTROL"]))
    begin(top / "begun")
    shutil.copytree(top / "begun", top / "undisturbed")
    faults.count(f"{top}/undisturbed/*")
    code, calls = in_child(top / "undisturbed", after), faults.seen
    faults.disarm()
    ends = {"on": places(top / "undisturbed"), "back": places(top / "begun")}
    assert all(count == 1 for end in ends.values() for count in Counter(map(len, end.values())))
    print(json.dumps({"code": code, "calls": calls, **ends}), flush=True)
    for at in range(1, calls + 1, step):
        print(json.dumps(one_point(faults, top, at)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
