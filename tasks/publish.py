"""Publish: rows that nobody asks for go; then come the card, the contact sheet and, last, the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task

from data.card import dataset_card
from data.contact_sheet import contact_sheet
from data.folder import Folder
from data.manifest import make_manifest, write_manifest, write_set_aside
from data.parquet import copy_without
from data.records import SetAside
from data.worklist import Worklist
from tasks.settings import Build


@task(
    name="publish", task_run_name="publish {build.recipe.name}", retries=2, retry_delay_seconds=2, persist_result=False
)
def publish(build: Build, set_aside: Sequence[SetAside], devices: Sequence[str]) -> dict[str, Any]:
    """Make the folder a finished dataset and return its manifest. Nothing is drawn here."""
    folder = build.folder
    with Worklist.open(folder.plan) as worklist:
        remove_rows(folder, worklist.unwanted())
        write_set_aside(folder, worklist.faults(), set_aside)
    folder.failures.unlink(missing_ok=True)
    files, _ = folder.committed()
    manifest = make_manifest(folder, build.recipe, files, build.facts, devices)
    licences = [spec.licence for spec in build.models.values()]
    card = dataset_card(build.recipe, build.layout, manifest, build.facts, licences)
    folder.write(folder.contact_sheet, contact_sheet([folder.data / file.name for file in files]))
    folder.write(folder.card, card.encode())
    write_manifest(folder, manifest)
    return manifest


def remove_rows(folder: Folder, unwanted: Mapping[str, set[str]]) -> None:
    """Take rows out of committed files: a file is replaced as a whole, or goes when none of its rows is left."""
    for name, row_keys in unwanted.items():
        file = copy_without(folder.data / name, folder.scratch(name), row_keys)
        if file.rows:
            folder.commit(folder.scratch(name), name, file)
        else:
            folder.remove(name)
