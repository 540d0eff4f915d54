"""Publish task: remove rows without a prompt, compact the files, and write card, contact sheet and manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect import task

from imagemill.data.answers.store import answer_files
from imagemill.data.config.judging.duplicates import PHASH
from imagemill.data.config.judging.judged import rules_of
from imagemill.data.dataset.card import dataset_card
from imagemill.data.dataset.describe.card_notes import card_notes
from imagemill.data.dataset.files.compaction import compact, conform, remove_rows
from imagemill.data.dataset.files.inverse import inverse_keys
from imagemill.data.dataset.manifest import make_manifest, write_manifest, write_paths, write_set_aside
from imagemill.data.dataset.sheet.choices import Choices
from imagemill.data.dataset.sheet.contact_sheet import contact_sheet
from imagemill.data.planning.judging.finish import finish_judging
from imagemill.data.planning.judging.inverses import Inverses
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import SetAside
from imagemill.data.scores.funnel import Funnel
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.listing import with_scorers
from imagemill.data.scores.pair_files import pair_files
from imagemill.models.catalog.spec import is_untried
from imagemill.tasks.build_context import Build

MAX_PUBLISH_RETRIES = 2
PUBLISH_RETRY_DELAY_S = 2


class Published(NamedTuple):
    """Outcome of a build for its dataset."""

    manifest: dict[str, Any]
    set_aside: int
    """Rows set aside."""
    funnel: Funnel
    """Fates of the candidates, near-duplicates included."""
    inverse: int | None = None
    """Inverse rows of the dataset; None for a recipe without them."""


@task(
    name="publish",
    task_run_name="publish {build.recipe.name}",
    retries=MAX_PUBLISH_RETRIES,
    retry_delay_seconds=PUBLISH_RETRY_DELAY_S,
    persist_result=False,
)
def publish(
    build: Build, set_aside: Sequence[SetAside], devices: Sequence[str], funnel: Funnel | None = None
) -> Published:
    """Finish the dataset. ``funnel``: the counts of its choices, before the search for near-duplicates."""
    folder = build.folder
    with Worklist.open(folder.plan) as worklist:
        if build.is_judged:
            _, duplicates = finish_judging(build.recipe, folder, build.schema, build.judge(worklist))
            funnel = (funnel or Funnel()).with_duplicates(duplicates)
        else:
            _remove_rows(build, worklist)
        count = write_set_aside(folder, worklist.faults(), set_aside)
    inverse = sum(map(len, inverse_keys(folder))) if Inverses(build.recipe).are_wanted else None
    folder.failures.unlink(missing_ok=True)
    for area in folder.areas:
        compact(folder, area.name)
    files, _ = folder.committed()
    beside = {"pairs": pair_files(folder), "scores": Ledger(folder).files(), "answers": answer_files(folder)}
    scorers = [spec.facts() for spec in build.scorers.values()]
    manifest = make_manifest(folder, build.recipe, files, build.facts, devices, beside)
    manifest = with_scorers(manifest, scorers, folder.read_manifest())
    licences = [f"{spec.licence}{'; untested by imagemill' * is_untried(spec)}" for spec in build.models.values()]
    listed = [facts for facts in scorers if facts.kind != PHASH]
    lines = funnel.lines() if funnel is not None and build.is_judged else ()
    paths = [folder.data / file.name for file in files]
    notes = card_notes(paths)
    card = dataset_card(build.recipe, build.schema, manifest, build.facts, licences, listed, lines, notes)
    folder.write(folder.contact_sheet, contact_sheet(paths, choices=_choices(build)))
    folder.write(folder.card, card.encode())
    write_paths(folder, build.recipe)
    write_manifest(folder, manifest)
    return Published(manifest, count, funnel or Funnel(), inverse)


def _choices(build: Build) -> Choices | None:
    """Choices for the contact sheet; None where none was made by a score."""
    rules = rules_of(build.recipe)
    last = next(reversed(rules))
    for step, rule in reversed(rules.items()):
        if rule.of > rule.keep and rule.scores:
            name = rule.best or rule.scores[0]
            # Rows have columns for the input of their edit and for their last image, and none for a step in between.
            if step not in (last, "generate"):
                return None
            column = f"score_{name}" if step == last else f"input_score_{name}"
            rejected = build.folder.area("rejected")
            files = rejected.committed()[0] if build.recipe.rejected == "keep" else []
            return Choices(column, [rejected.path / file.name for file in files])
    return None


def _remove_rows(build: Build, worklist: Worklist) -> None:
    """Take out the rows that the recipe no longer asks for, and give the others its columns."""
    keep = build.recipe.on_removed == "keep"
    remove_rows(build.folder, worklist.unwanted(keep_removed=keep))
    # Files from before the first value that does not fit lack the column of these, or else have it no longer.
    if keep or build.schema.other or build.recipe.columns.retype:
        conform(build.folder, build.schema)
