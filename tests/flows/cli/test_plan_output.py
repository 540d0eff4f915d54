"""`imagemill plan` says why rows are set aside and what is odd about the others, in a few short lines."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands import Run
from tests.conftest import write_prompts


def test_a_plan_prints_the_first_reasons_cut_and_its_notes(imagemill: Run, tmp_path: Path):
    prompts = tmp_path / "prompts.jsonl"
    bad = [{"prompt": "a", "seed": "x" * 100_000}, {"prompt": "a", "WIDTH": 333, "HEIGHT": 500}]
    good = [{"prompt": "a star", "negative_prompt": "blurry"}, {"prompt": "a kite " * 20_000}]
    write_prompts(prompts, [*bad, *[{"prompt": ""}] * 5, *good])
    arguments = ("plan", "--prompts", prompts, "--output", tmp_path / "out", "--generate.model", "bundled")
    code, printed = imagemill(*arguments)
    assert code == 0
    assert "line 1: seed is 'xxx" in printed
    assert "line 2: width ('WIDTH') is 333: input should be a multiple of 8; write columns: {width: null, " in printed
    assert "line 3: the prompt is empty ('prompt')" in printed
    assert "line 4" not in printed
    assert "1 row has a negative prompt, of which the model makes no use" in printed
    assert max(map(len, printed.splitlines())) < 200
    assert len(printed) < 2000
    figures = json.loads(imagemill(*arguments, "--json")[1])
    assert (len(figures["reasons"]), len(figures["notes"]), figures["set_aside"], figures["new"]) == (3, 1, 7, 2)


def test_a_plan_says_that_near_duplicates_are_found_later(imagemill: Run, tmp_path: Path):
    prompts = tmp_path / "prompts.jsonl"
    write_prompts(prompts, ["a star", "one star"])
    arguments = ("plan", "--prompts", prompts, "--output", tmp_path / "out", "--generate.model", "bundled")
    assert "near-duplicates" not in imagemill(*arguments)[1]
    assert "note        near-duplicates are found at the end" in imagemill(*arguments, "--duplicates.by", "phash")[1]
