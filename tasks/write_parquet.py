"""Write Parquet: a shard's staged images and their columns become one file of the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from prefect import task

from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.rows import dataset_row, encodings_of
from imagemill.data.dataset.shard_files import CommittedFile, file_name
from imagemill.data.errors import BadRow
from imagemill.data.records import Failure, RowPlan, SetAside
from imagemill.data.staging.store import Staging
from imagemill.data.storage.disk_full import explain_full_disk
from imagemill.data.storage.jsonl import append_line
from imagemill.tasks.build_context import Build
from imagemill.tasks.task_options import is_worth_a_retry


@task(
    name="write parquet",
    task_run_name="write {name}",
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=is_worth_a_retry,
    persist_result=False,
)
def write_parquet(
    build: Build, shard: int, name: str, items: list[RowPlan], failed: Mapping[str, Failure]
) -> tuple[CommittedFile | None, list[SetAside]]:
    """Commit the shard as one file, and return it and the rows that were set aside; no file where all of them were.

    ``name``: the shard's, for a person; ``failed``: image key -> why.

    Its staged images go. Nothing of the file is visible before all of it is on the disk.
    """
    folder, staging, facts = build.folder, Staging(build.folder.staged), build.facts
    set_aside = [aside for item in items if (aside := _fault(item, failed))]
    lost = {aside.row_key for aside in set_aside}

    def rows() -> Iterator[dict[str, Any]]:
        for item in items:
            if item.row_key in lost:
                continue
            try:
                yield dataset_row(staging, build.schema, item, facts)
            except BadRow as error:
                set_aside.append(SetAside("write", item.id, item.file, item.line, str(error), 1, item.row_key))

    target = file_name(build.first_file + shard)
    with explain_full_disk(folder.disk):
        file = write_rows(folder.scratch(target), build.schema, rows())
        for aside in set_aside:
            append_line(folder.failures, asdict(aside))
        if file.rows:
            folder.commit(folder.scratch(target), target, file)
    staging.remove(encodings_of(items, build.schema))
    return (file if file.rows else None), set_aside


def _fault(item: RowPlan, failed: Mapping[str, Failure]) -> SetAside | None:
    for step, drawing in zip(item.steps, item.drawings, strict=True):
        if drawing.key in failed:
            failure = failed[drawing.key]
            return SetAside(step, item.id, item.file, item.line, failure.reason, failure.attempts, item.row_key)
    return None
