"""A home that cannot be written is one sentence before a server starts, not a traceback for each of its attempts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings

from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server.home_check import check_home
from tests.conftest import ROOT

AS_ANY_USER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
"""Before a command: without the rights with which root ignores permissions."""


def test_a_home_is_made_where_there_is_none(tmp_path: Path):
    with temporary_settings({PREFECT_HOME: tmp_path / "new" / ".prefect"}):
        check_home()
    assert list((tmp_path / "new" / ".prefect").iterdir()) == []


def test_a_home_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        temporary_settings({PREFECT_HOME: tmp_path / "file" / ".prefect"}),
        pytest.raises(ImagemillError, match=r"cannot be written \(Not a directory\)\. Set PREFECT_HOME to a folder"),
    ):
        check_home()


def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path):
    (tmp_path / "prefect.db").mkdir()
    with (
        temporary_settings({PREFECT_HOME: tmp_path}),
        pytest.raises(ImagemillError, match=r"Prefect's database '.*prefect\.db' cannot be written\. Set PREFECT_HOME"),
    ):
        check_home()


def build(tmp_path: Path, *before: str, output: str = "out", **environment: str) -> tuple[int, str]:
    """`imagemill build` with this environment alone: its exit code and all that it prints."""
    (tmp_path / "prompts.txt").write_text("a fox\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{{name: r, prompts: prompts.txt, output: {output}, generate: {{model: bundled}}}}")
    command = [*before, sys.executable, "-m", "imagemill", "build", str(recipe)]
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=path | environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("home", ["file/home", "locked", "locked/home"])
def test_a_build_without_a_home_that_can_be_written_prints_one_sentence(tmp_path: Path, home: str):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o555)
    code, text = build(tmp_path, *AS_ANY_USER, HOME=str(tmp_path / home))
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith(f"imagemill: Prefect's folder {str(tmp_path / home / '.prefect')!r} cannot be written (")
    assert "Set PREFECT_HOME to a folder that you can write to, or PREFECT_API_URL" in text


def test_a_build_into_a_folder_that_cannot_be_written_prints_one_sentence(tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o555)
    code, text = build(tmp_path, *AS_ANY_USER, HOME=str(tmp_path), output=str(tmp_path / "locked" / "out"))
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith(
        f"imagemill: cannot write below {str(tmp_path / 'locked')!r}: Permission denied. Give recipe"
    )
    assert "disk space" not in text
