"""An export grows with its dataset, survives a kill at any point, and touches no file that it did not write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.errors import FolderInUse, NotAnImagemillDataset
from imagemill.data.export.export import export
from imagemill.data.export.formats import FORMATS
from imagemill.data.export.ledger import Ledger
from tests.conftest import ROOT
from tests.data.export.made import publish, row, schema
from tests.data.export.test_export import contents

FORMS = [form for form in FORMATS if "data" in FORMATS[form].sources]
LOOSE = [form for form in FORMS if FORMATS[form].layout]

BEFORE = [row("gone", 1), row("stays", 2), row("changes", 3), row("stays too", 4)]
AFTER = [row("new", 6), row("stays", 2), row("changes", 5), row("stays too", 4)]


def made(folder: Path, form: str) -> dict[str, str]:
    """The files of an export; without its list, in which rows that stayed come first."""
    found = contents(folder)
    lines = sorted((folder / ".export" / "files.jsonl").read_text().splitlines())
    return found | {".export/files.jsonl": str([json.loads(line)["name"] for line in lines])}


@pytest.mark.parametrize("form", FORMS)
def test_a_second_export_of_a_changed_dataset_ends_as_a_first_one(form: str, tmp_path: Path):
    output, to = tmp_path / "out", tmp_path / "to"
    export(publish(output, BEFORE, schema()), to, form, part_bytes=1)
    before = {path: path.stat().st_mtime_ns for path in to.rglob("*stays*") if path.is_file()}
    publish(output, AFTER, schema())
    done = export(output, to, form, part_bytes=1)
    grown = made(to, form)
    to.rename(tmp_path / "grown")
    export(output, to, form, part_bytes=1)
    assert grown == made(to, form)
    if form in LOOSE:
        assert (done["written"], done["removed"]) == (2, 1)
        now = {path: path.stat().st_mtime_ns for path in (tmp_path / "grown").rglob("*stays*") if path.is_file()}
        assert {path.name: time for path, time in now.items()} == {path.name: time for path, time in before.items()}


def test_a_row_is_never_named_by_its_place(tmp_path: Path):
    output, to = tmp_path / "out", tmp_path / "to"
    export(publish(output, BEFORE, schema()), to, "pairs")
    names = {path.name for path in (to / "target").iterdir()}
    publish(output, [row("first", 9), *BEFORE], schema())
    export(output, to, "pairs")
    added = {path.name for path in (to / "target").iterdir()} - names
    assert added == {"first.png", "first.txt"}


def test_a_deleted_file_is_written_again(tmp_path: Path):
    output, to = publish(tmp_path / "out", BEFORE, schema()), tmp_path / "to"
    export(output, to, "pairs")
    (to / "control" / "stays.png").unlink()
    assert export(output, to, "pairs")["written"] == 1
    assert (to / "control" / "stays.png").exists()


def test_files_that_the_export_did_not_write_stay_and_are_never_overwritten(tmp_path: Path):
    output, to = publish(tmp_path / "out", BEFORE, schema()), tmp_path / "to"
    export(output, to, "pairs")
    (to / "target" / "stays_flux.npz").write_bytes(b"a trainer's cache")
    (to / "target" / "new.txt").write_text("mine")
    (to / "kohya.toml").write_text("# my settings")
    publish(output, AFTER, schema())
    with pytest.raises(NotAnImagemillDataset, match=r"new\.txt' exists and is not of this export"):
        export(output, to, "pairs")
    assert (to / "target" / "new.txt").read_text() == "mine"
    (to / "target" / "new.txt").unlink()
    export(output, to, "pairs")
    assert (to / "target" / "stays_flux.npz").read_bytes() == b"a trainer's cache"
    assert (to / "kohya.toml").read_text() == "# my settings"


def test_an_id_that_only_changes_its_capitals_keeps_its_image(tmp_path: Path):
    output, to = tmp_path / "out", tmp_path / "to"
    export(publish(output, [row("Fox", 1)], schema()), to, "pairs")
    export(publish(output, [row("fox", 1)], schema()), to, "pairs")
    assert (to / "target" / "fox.png").exists()


def test_an_export_of_an_earlier_version_is_refused_untouched(tmp_path: Path):
    output, to = publish(tmp_path / "out", BEFORE, schema()), tmp_path / "to"
    export(output, to, "files")
    marker = json.loads((to / "export.json").read_text())
    del marker["version"]
    (to / "export.json").write_text(json.dumps(marker))
    before = contents(to)
    with pytest.raises(NotAnImagemillDataset, match="an export without a list of its files"):
        export(output, to, "files")
    assert contents(to) == before


def test_a_list_of_files_that_names_others_removes_none(tmp_path: Path):
    output, to = publish(tmp_path / "out", BEFORE, schema()), tmp_path / "to"
    export(output, to, "files")
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "thesis.tex").write_text("years of work")
    (to / "link").symlink_to(tmp_path / "linked")
    with open(to / ".export" / "files.jsonl", "a") as listed:
        for name in ("../thesis.tex", str(tmp_path / "thesis.tex"), "link/thesis.tex"):
            listed.write(json.dumps({"name": name, "stamp": "", "files": [name]}) + "\n")
    export(publish(output, AFTER, schema()), to, "files")
    assert (tmp_path / "thesis.tex").exists()
    assert (tmp_path / "linked" / "thesis.tex").exists()


def test_two_exports_into_one_folder_are_refused(tmp_path: Path):
    output, to = publish(tmp_path / "out", BEFORE, schema()), tmp_path / "to"
    identity: dict[str, Any] = {"format": "files", "dataset": "small"}
    with Ledger(to).begun(identity), pytest.raises(FolderInUse, match="another export"):
        export(output, to, "files")


_KILLED = """
import os, signal, sys
from pathlib import Path
from imagemill.data.export.export import export

def killed(output, to, form, place):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"):
            if any(isinstance(name, str) and name.startswith(to) for name in map(str, arguments[:2])):
                seen += 1
                if seen == place:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    export(output, Path(to), form, part_bytes=1)

output, before, after, form = sys.argv[1:]
place = 0
while True:
    place += 1
    to = f"{after}-{place}"
    child = os.fork()
    if not child:
        os.system(f"cp -r {before} {to}")
        killed(output, to, form, place)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(place)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pairs", "webdataset", "dataflow"])
def test_an_export_that_is_killed_at_any_file_operation_goes_on_and_ends_as_an_undisturbed_one(
    form: str, tmp_path: Path
):
    output, before = tmp_path / "out", tmp_path / "before"
    export(publish(output, BEFORE, schema()), before, form, part_bytes=1)
    publish(output, AFTER, schema())
    arguments = [str(output), str(before), str(tmp_path / "killed"), form]
    run = subprocess.run([sys.executable, "-c", _KILLED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    places = int(run.stdout)
    assert places > 15
    for place in range(1, places):
        to = tmp_path / f"killed-{place}"
        # A dataset that changed in between: nothing of the interrupted export may be left.
        last = BEFORE if place % 3 == 0 else AFTER
        publish(output, last, schema())
        export(output, to, form, part_bytes=1)
        found = made(to, form)
        to.rename(tmp_path / f"done-{place}")
        export(output, to, form, part_bytes=1)
        assert found == made(to, form), place
