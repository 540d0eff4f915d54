"""A temporary server that cannot start ends the build at once, with one clear sentence."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.flows.prefect_server.own_builds import OwnBuild, run_script


@pytest.fixture
def build(tmp_path: Path, model: Path, empty_home: Path) -> OwnBuild:
    """A build with an empty database."""
    return OwnBuild(tmp_path / "home", model, empty_home)


def failure(build: OwnBuild) -> str:
    """What a build that fails prints."""
    process = build.start()
    out, errors = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert len(errors.strip().splitlines()) == 1, errors
    return errors


def test_a_damaged_database(build: OwnBuild):
    for file in (build.folder / ".prefect").glob("prefect.db*"):
        file.write_bytes(b"no database" * 1000)
    said = failure(build)
    assert "the temporary Prefect server did not start: file is not a database" in said
    assert f"PREFECT_HOME={build.folder}" in said
    assert "temporary-server.log" in said


def test_a_database_of_a_newer_prefect(build: OwnBuild):
    with closing(sqlite3.connect(build.folder / ".prefect" / "prefect.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    assert "its database was written by a newer Prefect than 3." in failure(build)


def test_a_setting_that_the_server_refuses(build: OwnBuild):
    build.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = "oracle://somewhere"
    assert "the temporary Prefect server did not start: " in failure(build)


def test_a_server_that_is_killed_while_it_starts(build: OwnBuild):
    process = build.start()
    wait_until(build.server, "the server").kill()
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "the temporary Prefect server did not start: signal 9." in errors
    assert "Traceback" not in errors


def test_no_file_descriptor_is_left(tmp_path: Path, empty_home: Path):
    code = """
import resource
from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server.temporary import start_temporary_server
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
try:
    start_temporary_server()
except ImagemillError as error:
    print(error)
"""
    home = tmp_path / "home"
    shutil.copytree(empty_home, home / ".prefect")
    done = run_script(code, home)
    assert done.stdout.startswith("no port or pipe is left for a temporary Prefect server (Too many open files)"), done


@pytest.mark.long
def test_a_server_that_ends_before_its_build_is_reported_in_one_sentence(build: OwnBuild, cluster: str):
    process = build.start("--cluster", cluster)
    lock = Path(build.fields["output"]) / ".imagemill" / "lock"
    wait_until(lambda: lock.exists() or process.poll() is not None, "the build")
    build.server().kill()
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "the temporary Prefect server ended (signal 9)" in errors
    assert "Traceback" not in errors
