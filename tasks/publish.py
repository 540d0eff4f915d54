"""Publish: rows that nobody asks for go; then come the card, the contact sheet and, last, the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import task

from imagemill.data.dataset.card import dataset_card
from imagemill.data.dataset.compaction import compact, conform, remove_rows
from imagemill.data.dataset.contact_sheet import contact_sheet
from imagemill.data.dataset.manifest import make_manifest, write_manifest, write_set_aside
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import SetAside
from imagemill.tasks.build_context import Build


@task(
    name="publish", task_run_name="publish {build.recipe.name}", retries=2, retry_delay_seconds=2, persist_result=False
)
def publish(build: Build, set_aside: Sequence[SetAside], devices: Sequence[str]) -> tuple[dict[str, Any], int]:
    """Make the folder a finished dataset; returns its manifest and how many rows are set aside. Nothing is generated."""
    folder = build.folder
    with Worklist.open(folder.plan) as worklist:
        keep = build.recipe.on_removed == "keep"
        remove_rows(folder, worklist.unwanted(keep_removed=keep))
        count = write_set_aside(folder, worklist.faults(), set_aside)
    folder.failures.unlink(missing_ok=True)
    if keep:
        conform(folder, build.schema)
    compact(folder)
    files, _ = folder.committed()
    manifest = make_manifest(folder, build.recipe, files, build.facts, devices)
    licences = [spec.licence for spec in build.models.values()]
    card = dataset_card(build.recipe, build.schema, manifest, build.facts, licences)
    folder.write(folder.contact_sheet, contact_sheet([folder.data / file.name for file in files]))
    folder.write(folder.card, card.encode())
    write_manifest(folder, manifest)
    return manifest, count
