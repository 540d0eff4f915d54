"""Contents of an output folder: only the folder as a whole may be a link, and nothing in it is a pipe."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import find_finished
from imagemill.data.errors import OutputError
from imagemill.data.export.push import push
from imagemill.data.storage.contents import FOLLOW_LINKS
from tests.conftest import ROOT


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished dataset, with the files of a build that was killed."""
    output = shutil.copytree(ROOT / "tests" / "old" / "killed-and-grown" / "dataset", tmp_path / "out")
    (output / ".imagemill" / "tmp").mkdir()
    return output


LINKED = [
    "data",
    "data/train-00000.parquet",
    "manifest.json",
    "README.md",
    "runs.jsonl",
    "set_aside.jsonl",
    "contact_sheet.jpg",
    ".imagemill",
    ".imagemill/folder.json",
    ".imagemill/files.jsonl",
    ".imagemill/failures.jsonl",
    ".imagemill/lock",
    ".imagemill/staged",
    ".imagemill/staged/a.staged",
    ".imagemill/results",
    ".imagemill/tmp",
    ".imagemill/tmp/train-00001.parquet",
    ".imagemill/tmp/README.md.1",
    ".imagemill/plan.sqlite",
]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("to", ["file or folder", "nothing"])
def test_a_link_inside_is_refused_before_anything_is_touched(output: Path, tmp_path: Path, name: str, to: str):
    path, elsewhere = output / name, tmp_path / "elsewhere"
    if path.exists() and to == "file or folder":
        path.rename(elsewhere)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if to == "file or folder" and not elsewhere.exists():
        elsewhere.write_text("mine")
    path.symlink_to(elsewhere)
    before = contents(tmp_path)
    with (
        pytest.raises(OutputError, match=r"is a link to '.*elsewhere'.*Nothing was touched"),
        Folder(output).lock("killed-and-grown"),
    ):
        pytest.fail("held")
    assert contents(tmp_path) == before
    assert path.is_symlink()


def test_a_whole_output_folder_may_be_a_link(output: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(output)
    with Folder(tmp_path / "link").lock("killed-and-grown"):
        assert len(Folder(tmp_path / "link").committed()[0]) == 1


def test_links_are_followed_where_the_user_says_so(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (output / "data").rename(tmp_path / "other-disk")
    (output / "data").symlink_to(tmp_path / "other-disk")
    monkeypatch.setenv(FOLLOW_LINKS, "1")
    with Folder(output).lock("killed-and-grown"):
        assert len(Folder(output).committed()[0]) == 1


def test_a_dataset_of_links_can_be_read_and_is_not_pushed(output: Path, tmp_path: Path):
    # As the Hub's cache has it.
    (output / "README.md").rename(tmp_path / "blob")
    (output / "README.md").symlink_to(tmp_path / "blob")
    assert find_finished(output)[1]["rows"] == 3
    with pytest.raises(OutputError, match=r"README.md' is a link to"):
        push(output, "org/name")


@pytest.mark.parametrize("name", ["manifest.json", "data", ".imagemill/folder.json", ".imagemill/staged/a.staged"])
def test_a_pipe_is_refused_instead_of_waited_for(output: Path, name: str):
    path = output / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    os.mkfifo(path)
    for use in (lambda: find_finished(output), lambda: Folder(output).check_owner("killed-and-grown")):
        with pytest.raises(OutputError, match=r"is neither a file nor a folder: remove it. Nothing was touched"):
            use()
