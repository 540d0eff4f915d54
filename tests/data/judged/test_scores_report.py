"""`imagemill scores` without a build: figures over data/ and rejected/ together, other thresholds, and forgetting."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from imagemill.data.dataset.files.placing import Placement, settle
from imagemill.data.dataset.manifest import write_manifest
from imagemill.data.errors import FolderInUse, NotAnImagemillDataset, RecipeError
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.listing import forget_scorer, listed_scorers, scores_entry, with_scorers
from imagemill.data.scores.records import Score, ScorerFacts
from imagemill.data.verify.integrity import verify_files
from imagemill.data.verify.score_report import report_scores
from imagemill.models.drawing.measure_registry import measures_of
from tests.commands import Run
from tests.data.judged.conftest import Judged

SCORES = [0.1, 0.2, 0.3, 0.4, None, 0.6]
"""By the number of the row; the first two are rejected, and rows 2k and 2k + 1 are of one prompt in the tests."""


@pytest.fixture
def scored(judged: Judged) -> Judged:
    """The dataset with these scores."""
    numbers = {row["row_key"]: number for number, row in enumerate(judged.rows)}

    def placement(number: int) -> Placement:
        outcomes = {"candidate": number % 2, "split": "train", "score_fits": SCORES[number]}
        if number >= 2:
            return Placement("data", "train", outcomes)
        return Placement("rejected", "train", {**outcomes, "rejected_by": ("fits", "not best")[number]})

    settle(judged.folder, judged.schema, lambda keys: {key: placement(numbers[key]) for key in keys})
    judged.publish()
    return judged


def test_the_figures_are_those_of_data_and_rejected_together(scored: Judged):
    report = report_scores(scored.folder.root)
    known = [score for score in SCORES if score is not None]
    found = report.scores["score_fits"]
    assert (found.number, found.nulls) == (5, 1)
    assert [found.min, found.lower_quartile, found.median, found.upper_quartile, found.max] == pytest.approx(
        list(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    )
    assert found.mean == pytest.approx(np.mean(known))


def test_the_funnel_counts_rejected_rows_by_their_reasons(scored: Judged):
    funnel = report_scores(scored.folder.root).funnel
    assert (funnel.candidates, funnel.kept, funnel.rejected) == (6, 4, 2)
    assert (funnel.failed, funnel.not_best) == ({"fits": 1}, 1)


def test_the_last_complete_build_says_how_many_rows_are_short(scored: Judged):
    figures = {"candidates": 7, "short": 2, "none_passed": 1, "failed": {"fits": 9}}
    scored.folder.add_run({"status": "complete", **figures})
    scored.folder.add_run({"status": "stopped", "candidates": 1})
    scored.folder.add_run({"status": "complete", "scored": 8})
    funnel = report_scores(scored.folder.root).funnel
    assert (funnel.candidates, funnel.short, funnel.none_passed, funnel.failed) == (7, 2, 1, {"fits": 1})


@pytest.mark.parametrize(
    ("where", "rows"), [("fits >= 0.3", 3), ("fits > 0.3", 2), ("not fits >= 0.3", 2), ("score_fits is null", 1)]
)
def test_a_threshold_counts_rows_of_both_areas(scored: Judged, where: str, rows: int):
    threshold = report_scores(scored.folder.root, where).threshold
    assert (threshold.rows, threshold.of_rows) == (rows, 6)


def test_a_threshold_names_the_line_of_the_recipe_that_does_it(scored: Judged):
    line = "generate: {select: {of: 3, where: {fits: {min: 0.3, max: 0.4999}}}}"
    assert report_scores(scored.folder.root, "fits >= 0.3 and (fits < 0.5)").threshold.rule == line


@pytest.mark.parametrize("where", ["fits >= 0.3 or fits < 0.1", "fits != 0.3", "width >= 8", "not fits >= 0.3"])
def test_a_filter_that_is_no_rule_names_no_line(scored: Judged, where: str):
    assert report_scores(scored.folder.root, where).threshold.rule is None


def test_a_prompt_counts_once_however_many_of_its_images_pass(judged: Judged):
    for number, row in enumerate(judged.rows):
        row["score_fits"] = number / 10
    report = report_scores(judged.folder.root, "width >= 1")
    ids = {row["id"] for row in judged.rows}
    assert (report.threshold.rows, report.threshold.prompts, report.threshold.of_prompts) == (6, len(ids), len(ids))


def test_a_name_that_is_no_score_is_an_error_with_those_there_are(scored: Judged):
    with pytest.raises(RecipeError, match="no score 'fit'; its scores are fits"):
        report_scores(scored.folder.root, name="fit")


def test_a_folder_that_is_no_dataset_is_an_error(tmp_path: Any):
    with pytest.raises(NotAnImagemillDataset):
        report_scores(tmp_path)


def test_the_command_prints_funnel_figures_histogram_and_threshold(scored: Judged, imagemill: Run):
    code, text = imagemill("scores", scored.folder.root, "--histogram", "fits", "--where", "fits >= 0.3")
    assert code == 0
    assert "4 rows in data/, 2 rejected" in text
    assert "3 of 6 rows pass" in text
    assert "In the recipe, beside its other bounds: generate: {select: {of: 3, where: {fits: {min: 0.3}}}}" in text
    assert any(line.endswith("#" * 40) for line in text.splitlines())
    assert "no score           1" in text


def test_the_command_prints_the_same_as_json(scored: Judged, imagemill: Run):
    code, text = imagemill("scores", scored.folder.root, "--histogram", "fits", "--where", "fits >= 0.3", "--json")
    report = json.loads(text)
    assert code == 0
    assert report["scores"]["score_fits"]["number"] == 5
    assert sum(count for _, count in report["histogram"]["bins"]) == 5
    assert (report["threshold"]["rows"], report["funnel"]["rejected"]) == (3, 2)


@pytest.mark.parametrize("arguments", [("--where", "fit >= 1"), ("--histogram", "x"), ("--forget", "x")])
def test_the_command_exits_with_2_for_what_there_is_not(scored: Judged, imagemill: Run, arguments: tuple[str, str]):
    code, text = imagemill("scores", scored.folder.root, *arguments)
    assert code == 2
    assert len(text.splitlines()) == 1


def facts(name: str, identity: str) -> ScorerFacts:
    return ScorerFacts(name, "pixels", {"measure": identity})


@pytest.fixture
def listed(judged: Judged) -> Judged:
    """The dataset with a ledger that has two scores by each of three scorers, under four names."""
    scorers = [facts("fits", "1"), facts("sharp", "2"), facts("same", "2"), facts("old", "3")]
    for path in (judged.folder.root / "scores").iterdir():
        path.unlink()
    journal = ScoreJournal(judged.folder.score_journal)
    for one in scorers[:2] + scorers[3:]:
        journal.append([Score(one.id, f"{one.name}-{n}", f"p-{n}", f"key-{n}", "sha", n / 8) for n in range(2)])
    ledger = Ledger(judged.folder)
    ledger.absorb(journal)
    manifest = judged.folder.read_manifest()
    manifest |= scores_entry(ledger, {})
    write_manifest(judged.folder, with_scorers(manifest, scorers, manifest))
    return judged


def scorer_ids(judged: Judged) -> set[str]:
    return {scorer for part in Ledger(judged.folder).read() for scorer in part["scorer"]}


def test_a_forgotten_scorer_leaves_the_ledger_and_the_manifest_alone(listed: Judged, imagemill: Run):
    before = listed.folder.read_manifest()
    code, text = imagemill("scores", listed.folder.root, "--forget", "old")
    assert (code, "2 scores by 'old' are removed" in text) == (0, True)
    assert scorer_ids(listed) == {facts("fits", "1").id, facts("sharp", "2").id}
    after = listed.folder.read_manifest()
    assert (after["scores"]["rows"], sorted(listed_scorers(after))) == (4, ["fits", "same", "sharp"])
    assert {**after, "scores": None} == {**before, "scores": None}
    assert verify_files(str(listed.folder.root), measures_of).good


def test_scores_that_another_name_has_too_are_not_forgotten(listed: Judged):
    assert forget_scorer(listed.folder.root, "same") == 0
    assert facts("sharp", "2").id in scorer_ids(listed)
    assert forget_scorer(listed.folder.root, "sharp") == 2
    assert facts("sharp", "2").id not in scorer_ids(listed)


def test_a_forgetting_that_was_killed_before_the_manifest_is_finished_by_the_next(listed: Judged):
    with listed.folder.lock("small"):
        Ledger(listed.folder).forget({facts("old", "3").id})
    assert not verify_files(str(listed.folder.root), measures_of).good
    assert forget_scorer(listed.folder.root, "old") == 0
    assert verify_files(str(listed.folder.root), measures_of).good


def test_scores_of_an_interrupted_build_are_forgotten_too(listed: Judged):
    old = facts("old", "3")
    ScoreJournal(listed.folder.score_journal).append([Score(old.id, "late", "p", "key", "sha", 0.5)])
    assert forget_scorer(listed.folder.root, "old") == 3
    assert old.id not in scorer_ids(listed)


def test_the_last_scorer_takes_the_entry_along(listed: Judged):
    for name in ("fits", "sharp", "same", "old"):
        forget_scorer(listed.folder.root, name)
    assert "scores" not in json.loads(listed.folder.manifest.read_text())


def test_nothing_is_forgotten_while_a_build_runs(listed: Judged):
    with listed.folder.lock("small"), pytest.raises(FolderInUse):
        forget_scorer(listed.folder.root, "old")


def test_a_scorer_that_changes_is_listed_with_all_its_ids():
    manifest = {"scores": {"files": [], "scorers": {"fits": ["a"]}}}
    after = with_scorers(manifest, [facts("fits", "1")], manifest)
    assert listed_scorers(after) == {"fits": ["a", facts("fits", "1").id]}
