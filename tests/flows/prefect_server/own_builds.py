"""Builds in processes of their own homes, without a server's address."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import yaml

from tests.conftest import small_fields

MARKER = "IMAGEMILL_TEST_BUILD"
"""Environment variable by which the processes of a build are found, whoever their parent is."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a build that starts a temporary server in this home."""
    made = {**os.environ, "HOME": str(home), "PREFECT_HOME": str(home / ".prefect"), **more}
    # What another test in this process may have set.
    for name in ("PREFECT_API_URL", "PREFECT_LOGGING_LEVEL", "PREFECT_INTERNAL_LOGGING_LEVEL", "PYTHONSAFEPATH"):
        made.pop(name, None)
    return made


class OwnBuild:
    """`imagemill build` in a process, with its own home and working directory."""

    def __init__(self, folder: Path, model: Path, prefect_home: Path | None = None) -> None:
        """``prefect_home``: copied, so that no tables need to be created."""
        folder.mkdir(exist_ok=True)
        self.folder, self.marker = folder, uuid4().hex
        if prefect_home is not None:
            shutil.copytree(prefect_home, folder / ".prefect")
        self.fields = small_fields(folder, model)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(self.fields))
        self.environment = environment(folder, **{MARKER: self.marker})

    def start(self, *options: str, **settings: Any) -> subprocess.Popen[str]:
        """Start it in a session of its own; both output streams go to pipes."""
        command = [sys.executable, "-m", "imagemill", "build", "recipe.yaml", *options]
        self.process = subprocess.Popen(
            command,
            **{
                "cwd": self.folder,
                "env": self.environment,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "start_new_session": True,
                **settings,
            },
        )
        return self.process

    def server(self) -> psutil.Process | None:
        """The process of its temporary server, once it has begun."""
        return next((process for process in self.processes() if is_server(process)), None)

    def processes(self) -> list[psutil.Process]:
        """Every living process that has inherited the marker."""
        return [process for process in psutil.process_iter() if _environ(process).get(MARKER) == self.marker]

    def runs(self) -> list[tuple[str, str]]:
        """Names and states of the flow runs in its home's database."""
        return query(self.folder / ".prefect", "SELECT name, state_name FROM flow_run")


def run_script(code: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script in this home and working directory; the script itself lies elsewhere."""
    script = home.with_suffix(".py")
    script.write_text(code)
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=home, env=environment(home), capture_output=True, text=True, check=False)


def is_server(process: psutil.Process) -> bool:
    """Whether it is a temporary server."""
    try:
        return any("server_process" in argument for argument in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def query(prefect_home: Path, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Rows of the database that a server has in this home."""
    with closing(sqlite3.connect(prefect_home / "prefect.db")) as database:
        return database.execute(statement, values).fetchall()


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
