"""Write task: commit a shard's staged images and their columns as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from prefect import task

from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.rows import dataset_row, encodings_of
from imagemill.data.errors import BadRow
from imagemill.data.records import Failure, RowPlan, SetAside
from imagemill.data.staging.store import Staging
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.data.storage.jsonl import append_line
from imagemill.tasks.build_context import Build
from imagemill.tasks.task_options import WRITE_TASK_OPTIONS


@task(**WRITE_TASK_OPTIONS)
def write_parquet(
    build: Build, shard: int, name: str, plans: list[RowPlan], failed: Mapping[str, Failure]
) -> tuple[CommittedFile | None, list[SetAside]]:
    """Commit the shard as one file; returns the file and the rows set aside, and no file if that is all of them.

    ``name``: name of the shard on the dashboard; ``failed``: image key -> reason.

    The staged images are removed. The file becomes visible once it is complete on disk.
    """
    folder, staging, facts = build.folder, Staging(build.folder.staged), build.facts
    set_aside = [row for row_plan in plans if (row := _set_aside(row_plan, failed))]
    failed_rows = {row.row_key for row in set_aside}

    def rows() -> Iterator[dict[str, Any]]:
        for row_plan in plans:
            if row_plan.row_key in failed_rows:
                continue
            try:
                yield dataset_row(staging, build.schema, row_plan, facts)
            except BadRow as error:
                fault = SetAside("write", row_plan.id, row_plan.file, row_plan.line, str(error), 1, row_plan.row_key)
                set_aside.append(fault)

    scratch = folder.scratch(f"shard-{shard}.parquet")
    with explain_disk_errors(folder.disk):
        file = write_rows(scratch, build.schema, rows())
        for row in set_aside:
            append_line(folder.failures, asdict(row))
        if file.rows:
            file = folder.commit(scratch, build.first_file + shard, file)
    staging.remove(encodings_of(plans, build.schema))
    return (file if file.rows else None), set_aside


def _set_aside(row_plan: RowPlan, failed: Mapping[str, Failure]) -> SetAside | None:
    for step, drawing in zip(row_plan.steps, row_plan.drawings, strict=True):
        if failure := failed.get(drawing.key):
            return SetAside(
                step,
                row_plan.id,
                row_plan.file,
                row_plan.line,
                failure.reason,
                failure.attempts,
                row_plan.row_key,
            )
    return None
