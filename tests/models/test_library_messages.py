"""Messages of libraries are counted instead of shown, and a user's own logging stays as it is."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from imagemill.models import library_messages
from imagemill.models.library_messages import collected, take_counts
from tests.conftest import ROOT

LIBRARY_FILE = str(Path(json.__file__))
"""A file that is not the user's."""


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A library's logger as diffusers sets up its own: a handler that writes to the terminal, and no propagation."""
    logger = logging.getLogger("diffusers")
    before = logger.handlers[:], logger.propagate, logger.level
    logger.handlers, logger.propagate = [logging.StreamHandler(sys.stderr)], False
    take_counts()
    yield logger
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def test_a_librarys_records_are_counted_by_level_and_not_shown(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
):
    logger.handlers[0].setStream(sys.stderr)
    with collected():
        for name in ("diffusers", "diffusers.pipelines.flux", "PIL.Image"):
            logging.getLogger(name).warning("part of your input was truncated: %s", "x" * 100_000)
        logger.error("worse")
    assert capsys.readouterr() == ("", "")
    assert take_counts() == {"PIL WARNING": 1, "diffusers ERROR": 1, "diffusers WARNING": 2}
    assert take_counts() == {}
    logger.warning("heard")
    assert capsys.readouterr().err == "heard\n"


def test_handlers_levels_and_propagation_are_restored_also_with_nested_and_failing_blocks(logger: logging.Logger):
    loggers = [logging.root, logger, logging.getLogger("distributed"), logging.getLogger("PIL")]

    def state() -> list[tuple]:
        return [(item.handlers[:], item.propagate, item.level) for item in loggers]

    before, showwarning = state(), warnings.showwarning
    with suppress(KeyError), collected(), collected():
        assert state() != before
        raise KeyError
    assert state() == before
    assert warnings.showwarning is showwarning


def test_a_users_own_handler_and_logger_still_get_every_record(logger: logging.Logger, tmp_path: Path):
    own = logging.FileHandler(tmp_path / "own.log")
    logger.addHandler(own)
    mine = logging.getLogger("mine")
    mine.addHandler(own)
    try:
        with collected():
            logger.warning("of the library")
            mine.warning("of the user")
    finally:
        mine.removeHandler(own)
        own.close()
    assert (tmp_path / "own.log").read_text() == "of the library\nof the user\n"
    assert own in logger.handlers


def test_a_library_that_is_imported_meanwhile_is_silent_too_and_keeps_what_it_set_up(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
):
    logger.handlers, logger.propagate = [], True
    handler = logging.StreamHandler(sys.stderr)
    with collected():
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.ERROR)
        library_messages.collect_new()
        logger.error("of the library")
    assert capsys.readouterr().err == ""
    assert (logger.handlers, logger.propagate, logger.level) == ([handler], False, logging.ERROR)


def test_a_warning_about_a_librarys_file_is_counted_and_one_about_the_users_is_shown(monkeypatch: pytest.MonkeyPatch):
    take_counts()
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *place: shown.append(str(message)))
    monkeypatch.setattr(warnings, "filters", [("always", None, Warning, None, 0)])
    with collected():
        installed = Path(pytest.__file__).parents[1] / "diffusers" / "pipelines.py"
        for file in (LIBRARY_FILE, str(installed), str(ROOT / "models" / "hub.py"), "sys"):
            warnings.warn_explicit("of a library", FutureWarning, file, 1)
        warnings.warn_explicit("of the user", FutureWarning, "/home/user/build.py", 1)
    assert take_counts() == {"diffusers FutureWarning": 1, "imagemill FutureWarning": 1, "python FutureWarning": 2}
    assert shown == ["of the user"]


IMPORT_ALL = """
import logging, warnings
before = logging.root.handlers[:], logging.root.level, warnings.showwarning
import imagemill.flows.build_dataset, imagemill.tasks.runner.cluster, imagemill.models.library_messages
loggers = {name: logging.getLogger(name).level for name in ("distributed", "distributed.deploy")}
import imagemill.models.library_messages as messages
assert not messages._active
assert loggers == {"distributed": logging.INFO, "distributed.deploy": logging.NOTSET}, loggers
"""


@pytest.mark.slow
def test_importing_the_flows_changes_no_logger_of_a_library():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
