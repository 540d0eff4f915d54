"""Recipes on the command line: an invalid flag is one line, as in a recipe file."""

from __future__ import annotations

import pytest

from tests.commands import Run


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--generate.steps", "abc", "recipe.generate.steps is 'abc': it must be a whole number from 1 to 1000."),
        (
            "--generate.batch-size",
            "many",
            "recipe.generate.batch_size is 'many': it must be a whole number from 1 to 1024, or 'auto'.",
        ),
        ("--edit.instructions", '["a"]', "recipe.edit.instructions.0 is a list of 1: input should be a valid string."),
        ("--steps", "4", "Unknown option: --steps. Did you mean --sweep.steps or --generate.steps or --edit.steps?"),
        ("--workers", "x", 'Invalid value for --workers: unable to convert "x" into int.'),
    ],
)
def test_an_invalid_flag_is_one_line(imagemill: Run, flag: str, value: str, message: str):
    code, text = imagemill("build", "--prompts", "x.txt", flag, value)
    assert (code, text.count("\n")) == (2, 1)
    assert text.startswith(f"imagemill: {message}")
