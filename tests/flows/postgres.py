"""Temporary PostgreSQL server with an empty database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_port, wait_until


@contextmanager
def running_postgres() -> Iterator[str]:
    """The connection URL of an empty database. Skips the test if PostgreSQL is not installed."""
    if _program("initdb") is None:
        pytest.skip("needs PostgreSQL (Debian: apt-get install postgresql)")
    # It refuses to run as root.
    account: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    if account:
        shutil.chown(folder, "postgres", "postgres")
    at = ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect"]
    try:
        data = str(folder / "data")
        initdb = [_program("initdb"), "-D", data, "-U", "prefect", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **account)
        command = [_program("postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **account)
        try:
            ready = [_program("pg_isready"), *at]
            wait_until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL")
            subprocess.run([_program("createdb"), *at, "prefect"], check=True, capture_output=True)
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
        finally:
            # SIGTERM would wait for every client to disconnect.
            process.send_signal(signal.SIGINT)
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    """Path of a PostgreSQL program, which Debian keeps off PATH."""
    return shutil.which(name) or next((str(path) for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
