"""`imagemill build --watch`."""

from __future__ import annotations

import re
from typing import Any

from imagemill.flows.cli.watch import progress_line
from imagemill.tasks.progress import Progress
from tests.commands import Launch, recipe_file


def test_a_line_says_how_far_the_build_is_and_when_it_ends():
    progress = Progress(planned=100, seen=40, seen_generated=40, is_generating=True)
    progress.started -= 50
    progress.first_seen = (progress.started + 10, 0)
    line = r"40 of 100 images, 0\.80 images/s, 0 set aside, 50 s, about 60 s left, ends about [-0-9]+ [:0-9]+ \S+"
    assert re.fullmatch(line, progress_line(progress))


def test_a_build_that_plans_says_so():
    assert progress_line(Progress()) == "planning, 0 s"


def test_a_watched_build_prints_lines_to_standard_error(
    launch: Launch, mine: dict[str, Any], cluster: str, server: str
):
    arguments = ("--set", "generate.seed=9", "--cluster", cluster, "--watch")
    process = launch("build", recipe_file(mine), *arguments)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert re.search(r"^8 of 8 images, \d+\.\d\d images/s, 0 set aside, \d+ s$", errors, re.MULTILINE)
    assert "images/s, " not in output
