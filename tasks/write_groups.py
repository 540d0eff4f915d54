"""Write task of a judged build: commit a shard's rows, those of data/ by split and those of rejected/."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from prefect import task

from imagemill.data.config.judging.judged import GIVEN
from imagemill.data.dataset.files.area import DATA, REJECTED, AreaName
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.rows import dataset_row, given_row, source_row, without_images
from imagemill.data.errors import BadRow
from imagemill.data.planning.judging.shard_rows import ShardRow
from imagemill.data.records import SetAside
from imagemill.data.staging.store import Staging
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.data.storage.jsonl import append_line
from imagemill.tasks.build_context import Build
from imagemill.tasks.task_options import WRITE_TASK_OPTIONS


@task(**WRITE_TASK_OPTIONS)
def write_groups(
    build: Build, shard: int, name: str, rows: Sequence[ShardRow], failed: Sequence[SetAside]
) -> tuple[list[CommittedFile], list[SetAside]]:
    """Commit the shard's rows, by area and split; returns the files of data/, and the rows and candidates set aside.

    ``name``: name of the shard on the dashboard; ``failed``: candidates that could not be generated or scored.

    The staged images stay: the caller removes them once it has recorded where the rows belong.
    """
    folder, set_aside = build.folder, list(failed)
    committed = []
    with explain_disk_errors(folder.disk):
        for fault in failed:
            append_line(folder.failures, asdict(fault))
        for area, split in sorted({(row.area, row.split) for row in rows}):
            chosen = [row for row in rows if (row.area, row.split) == (area, split)]
            if area == REJECTED and build.recipe.rejected == "drop":
                continue
            file = _commit(build, shard, area, split, chosen, set_aside)
            if file is not None and area == DATA:
                committed.append(file)
    return committed, set_aside


def _commit(
    build: Build, shard: int, area: AreaName, split: str, rows: Sequence[ShardRow], set_aside: list[SetAside]
) -> CommittedFile | None:
    folder, staging, facts = build.folder, Staging(build.folder.staged), build.facts
    schema = build.schema if area == DATA else build.schema.rejected()
    has_images = area == DATA or build.recipe.rejected == "keep"

    def values() -> Iterator[dict[str, Any]]:
        for row in rows:
            try:
                made = _maker(row)(staging, build.schema, row.plan, facts) | dict(row.outcomes)
            except BadRow as error:
                plan = row.plan
                set_aside.append(SetAside("write", plan.id, plan.file, plan.line, str(error), 1, plan.row_key))
                continue
            yield made if has_images else without_images(made)

    scratch = folder.scratch(f"{area}-{split}-{shard}.parquet")
    file = write_rows(scratch, schema, values())
    if not file.rows:
        scratch.unlink()
        return None
    return folder.area(area).commit(scratch, build.first_file_of(area) + shard, file, split)


def _maker(row: ShardRow) -> Callable[..., dict[str, Any]]:
    if row.is_partial:
        return source_row
    return given_row if row.plan.steps == (GIVEN,) else dataset_row
