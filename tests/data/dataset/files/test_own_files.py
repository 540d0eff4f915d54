"""The JSON files in a dataset's folder: damage is one clear sentence or a missing line, and no name leads out of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.dataset.attempts import record_attempt
from imagemill.data.dataset.files.compaction import finish_merge
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import known_failures
from imagemill.data.dataset.reader import find_finished, read_runs, recent_pace
from imagemill.data.errors import OutputError
from imagemill.data.export.export import export
from imagemill.data.export.push import push
from imagemill.data.storage.locations import hash_file
from imagemill.data.verify.diff import compare
from imagemill.data.verify.integrity import verify_files
from tests.conftest import ROOT

OUTSIDE = ["../../victim", "../victim", "/etc/hostname", "train-00000.parquet/../../../victim", "train-0.parquet", ""]
"""Names that no data file can have."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A finished dataset as it is handed on: without the state of its builds."""
    finished = ROOT / "tests" / "old" / "chain" / "dataset"
    shutil.copytree(finished, tmp_path / "out" / "chain", ignore=shutil.ignore_patterns(".imagemill"))
    (tmp_path / "victim").write_text("mine")
    return Folder(tmp_path / "out" / "chain")


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_bytes())
    edit(content)
    path.write_text(json.dumps(content))


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


def without(*names: str) -> Callable[[bytes], bytes]:
    """The manifest without the field at this path."""

    def remove(content: bytes) -> bytes:
        manifest = json.loads(content)
        section = manifest
        for name in names[:-1]:
            section = section[name]
        del section[names[-1]]
        return json.dumps(manifest).encode()

    return remove


def with_(value: Any, *names: str) -> Callable[[bytes], bytes]:
    """The manifest with another value at this path."""

    def put(content: bytes) -> bytes:
        manifest = json.loads(content)
        section = manifest
        for name in names[:-1]:
            section = section[int(name) if isinstance(section, list) else name]
        section[names[-1]] = value
        return json.dumps(manifest).encode()

    return put


DAMAGE = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "cut early": cut(0.1),
    "cut in the middle": cut(0.5),
    "cut late": cut(0.99),
    "zeros": lambda content: bytes(len(content)),
    "random": lambda content: bytes(range(256)) * 9,
    "not UTF-8": lambda content: content.replace(b"chain", b"\xff\xfe"),
    "nested": lambda content: b"[" * 200_000,
    "a list": lambda content: b"[]",
    "null": lambda content: b"null",
    "a number": lambda content: b"7",
    "a text": lambda content: b'"manifest"',
    "nothing in it": lambda content: b"{}",
    **{f"no {name}": without(name) for name in ("fingerprint", "rows", "files", "models", "recipe", "hardware")},
    "no name in the recipe": without("recipe", "name"),
    "rows of text": with_("4", "rows"),
    "negative rows": with_(-4, "rows"),
    "half a row": with_(1.5, "rows"),
    "very many rows": with_(10**30, "rows"),
    "files of text": with_("train-00000.parquet", "files"),
    "a file without fields": with_([{}], "files"),
    "a file twice": lambda content: with_(json.loads(content)["files"] * 2, "files")(content),
    "no sha256": with_("short", "files", "0", "sha256"),
    "models in a list": with_([], "models"),
    "a model of text": with_({"generate": "bundled"}, "models"),
    "recipe in a list": with_([], "recipe"),
    "steps of text": with_("generate", "recipe", "steps"),
    "a step of text": with_(["generate"], "recipe", "steps"),
    "generate of text": with_("bundled", "recipe", "generate"),
    "another format": with_("exe", "recipe", "image_format"),
    "devices of text": with_("cpu", "hardware", "devices"),
    "versions in a list": with_([], "versions"),
    **{f"a file named {name!r}": with_(name, "files", "0", "name") for name in OUTSIDE},
}

COMMANDS: dict[str, Callable[[Folder], Any]] = {
    "build and plan": lambda folder: folder.check_owner("chain"),
    "verify": lambda folder: verify_files(folder.root, lambda recipe: ()),
    "export": lambda folder: export(folder.root, folder.root.parent / "export", "files"),
    "push": lambda folder: push(folder.root, "org/name"),
    "diff": lambda folder: compare(folder.root, folder.root),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_manifest_is_the_same_sentence_for_every_command(folder: Folder, damage: str):
    folder.manifest.write_bytes(DAMAGE[damage](folder.manifest.read_bytes()))
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.root.rglob("*"))
    messages = set()
    for command in COMMANDS.values():
        with pytest.raises(OutputError) as caught:
            command(folder)
        messages.add(str(caught.value))
    (message,) = messages
    assert message.startswith(f"{str(folder.manifest)!r} is damaged (")
    assert message.endswith("Restore it from a backup, or from where the dataset came from.")
    assert len(message) < 500
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.root.rglob("*")) == before


def test_a_damaged_manifest_may_be_deleted_where_a_build_can_write_it_again(folder: Folder):
    folder.state.mkdir()
    folder.about.write_text(json.dumps({"name": "chain", "pinned": {}}))
    folder.manifest.write_text("{")
    with pytest.raises(OutputError, match="Delete it and run `imagemill build` with the dataset's recipe"):
        find_finished(folder.root)
    folder.manifest.unlink()
    with folder.lock("chain"):
        assert [file.rows for file in folder.committed()[0]] == [4]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"name": "chain"}', '{"name": 7, "pinned": {}}', "\0" * 99]
)
def test_a_damaged_folder_file_is_one_sentence_and_loses_no_decision(folder: Folder, content: str):
    folder.state.mkdir()
    folder.about.write_text(content)
    with pytest.raises(OutputError, match=r"or delete it: manifest.json has the same decisions"):
        folder.check_owner("chain")
    folder.about.unlink()
    assert folder.pinned() == {"prompt_truncated": True}


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_interrupted_merge_removes_no_file_outside_of_the_dataset(folder: Folder, name: str):
    (file,) = folder.data.iterdir()
    folder.state.mkdir()
    merge = {"name": file.name, "sha256": hash_file(file), "old": [name]}
    folder.merge.write_text(json.dumps(merge))
    before = {path: path.read_bytes() for path in folder.root.parents[1].rglob("*") if path.is_file()}
    finish_merge(folder)
    after = {path: path.read_bytes() for path in folder.root.parents[1].rglob("*") if path.is_file()}
    assert after == {path: content for path, content in before.items() if path != folder.merge}


@pytest.mark.parametrize("content", ["", "[]", "{", "7", '{"name": 1}', '{"name": "a", "sha256": 2, "old": "b"}'])
def test_a_damaged_merge_file_is_removed_and_nothing_else(folder: Folder, content: str):
    folder.state.mkdir()
    folder.merge.write_text(content)
    finish_merge(folder)
    assert not folder.merge.exists()
    assert len(folder.committed()[0]) == 1


BAD_LINES = [b"\0\0\0", b"[" * 99_999, b"7", b"[]", b"{}", b'{"name": "train-00000.parquet"}', b'{"rows', b"\xff\xff"]


def test_damaged_lines_of_the_journal_are_left_out(folder: Folder):
    folder.state.mkdir()
    entry = json.loads(folder.manifest.read_bytes())["files"][0]
    lines = [json.dumps({**entry, **fault}).encode() for fault in ({"name": "../x"}, {"rows": "4"}, {"bytes": -1})]
    folder.journal.path.write_bytes(b"\n".join([*BAD_LINES, *lines, b""]))
    whole, damaged = folder.committed()
    assert ([file.rows for file in whole], damaged) == ([4], [])


def test_a_file_in_data_that_no_build_could_have_named_is_left_alone(folder: Folder):
    mine = folder.data / "train-00000-of-00001.parquet"
    mine.write_bytes(b"not Parquet")
    assert [len(files) for files in folder.committed()] == [1, 0]


def test_damaged_lines_of_the_rows_set_aside_are_left_out(folder: Folder):
    good = {"stage": "write", "id": "a", "file": "f", "line": 1, "reason": "r", "attempts": 1, "row_key": "k"}
    lines = [json.dumps({**good, **fault}).encode() for fault in ({"line": "1"}, {"extra": 1}, {"row_key": 7}, {})]
    folder.set_aside.write_bytes(b"\n".join([*BAD_LINES, *lines]))
    assert [row.line for row in known_failures(folder).values()] == [1]


def test_damaged_lines_of_the_runs_are_left_out(folder: Folder):
    runs = [{"generated": "8", "seconds": 2}, {"generated": 8, "seconds": -1}, {"generated": 8, "seconds": 2.0}]
    folder.runs.write_bytes(b"\n".join([*BAD_LINES, *(json.dumps(run).encode() for run in runs)]))
    assert recent_pace(folder) == 4
    assert {"generated": 8, "seconds": 2.0} in read_runs(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"run": "a", "kept": "b", "fruitless": "c"}'])
def test_a_damaged_count_of_attempts_starts_again(folder: Folder, content: str):
    folder.state.mkdir()
    folder.staged.mkdir()
    folder.attempts.write_text(content)
    assert [record_attempt(folder, "run") for _ in range(2)] == [0, 1]
