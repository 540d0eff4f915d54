"""Plan of a build: finished rows are skipped, and the missing ones packed into shards."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.measure_columns import MeasuresOf
from imagemill.data.dataset.parquet import read_columns
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BadRow, BuildFailed, RecipeError
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.plan_notes import plan_notes
from imagemill.data.planning.reuse import FinishedImages, find_images, would_regenerate
from imagemill.data.planning.row_planner import PlannedRow, RowPlanner
from imagemill.data.planning.shard_packing import ShardPacker
from imagemill.data.planning.totals import Plan
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.row import Row
from imagemill.data.records import ModelFacts, SetAside

CHUNK = 1000
"""Rows compared with the finished ones at a time."""

SHARD_SIZE = 64
"""Rows per shard of a recipe that names no other size, ..."""

MAX_SHARDS = 2_000
"""... which is multiplied where a build would have more shards: each is several task runs in Prefect's database."""


def schema_of(
    recipe: Recipe, loaded: Loaded, measures_of: MeasuresOf, outcomes: Sequence[OutcomeColumn] = ()
) -> DatasetSchema:
    """The dataset's columns."""
    measures = measures_of(recipe.model_dump(mode="json"))
    wide_seeds, version = loaded.conventions >= 2, loaded.encoding_version
    return DatasetSchema.of(recipe, loaded.carried, measures, loaded.begun, wide_seeds, outcomes, version)


def make_plan(
    recipe: Recipe,
    worklist: Worklist,
    folder: Folder,
    schema: DatasetSchema,
    models: Mapping[str, ModelFacts],
    known_failures: Mapping[str, SetAside],
) -> Plan:
    """Assign every missing row to a shard of the worklist and return the totals.

    ``known_failures``: row key -> why it was set aside before; such a row is not tried again.
    """
    files, _ = folder.committed()
    for file in files:
        for columns in read_columns(folder.data / file.name, ["row_key", "id"]):
            worklist.add_finished(file.name, columns["row_key"], columns["id"])
    worklist.index_finished()

    planner, images = RowPlanner(recipe, models, schema), FinishedImages(worklist, folder, files)
    rows = reused = failed = 0
    packer = ShardPacker(recipe.shard_size or SHARD_SIZE)
    for chunk in _chunks(worklist.rows(), CHUNK):
        groups: list[list[PlannedRow]] = []
        for row in chunk:
            try:
                groups += _groups(planner, row, images)
            except BadRow as error:
                failed += 1
                worklist.add_fault(SetAside("load", row.id, row.file, row.line, str(error)))
        finished = worklist.mark_wanted([planned.row_key for group in groups for planned in group])
        for group in groups:
            rows += len(group)
            missing = [planned for planned in group if planned.row_key not in finished]
            reused += len(group) - len(missing)
            to_build = []
            for planned in missing:
                if planned.row_key in known_failures:
                    worklist.add_fault(known_failures[planned.row_key])
                # An image that the dataset has is not decoded, whatever else of its row has changed.
                elif planned.row.doubt and planned.path[-1].key not in images:
                    worklist.add_fault(_in_doubt(planned.row, recipe))
                else:
                    to_build.append(planned)
            failed += len(missing) - len(to_build)
            if not to_build:
                continue
            # An image that two rows share is generated once, in one shard.
            target = worklist.shard_of(to_build[0].path[0].key)
            if target is None:
                target = packer.place(to_build[0].path[0].step, len(to_build))
            for row_plan in map(planner.row_plan, to_build):
                worklist.add_planned_row(target, row_plan, [models[step].name for step in row_plan.steps])
    shards = close_shards(worklist, packer, list(models), recipe.shard_size is None)
    if rows > reused + failed:
        lossy = sum(find_images(worklist, folder.data / file.name, schema) for file in files)
        if lossy:
            raise RecipeError(would_regenerate(lossy, folder, files, schema))
    drawings, restorable = worklist.totals()
    return Plan(
        rows=rows,
        reused=reused,
        removed=worklist.count_unwanted(keep_removed=recipe.on_removed == "keep"),
        set_aside=failed,
        shards=shards,
        drawings=drawings,
        restorable=restorable,
        notes=tuple(plan_notes(planner.unused_negatives, worklist.find_float_ids())),
    )


def close_shards(worklist: Worklist, packer: ShardPacker, steps: Sequence[str], may_merge: bool) -> int:
    """Order the shards by their models, and index them; returns how many there are.

    ``may_merge``: whether neighbours become one where there are too many.
    """
    shards = len(packer.steps)
    if len(set(packer.steps)) > 1:
        worklist.renumber_shards(packer.order(steps))
    if may_merge and shards > MAX_SHARDS:
        shards = worklist.merge_shards(-(-shards // MAX_SHARDS))
    worklist.index_shards()
    return shards


def _groups(planner: RowPlanner, row: Row, images: Container[str]) -> list[list[PlannedRow]]:
    """The row's planned rows. Those that share an image with one from before a change of the conversion keep to it."""
    groups = list(planner.planned_rows(row))
    if row.reading is None:
        return groups
    before = planner.planned_rows(row._replace(reading=None))
    return [
        old if any(planned.path[-1].key in images for planned in old) else new
        for old, new in zip(before, groups, strict=True)
    ]


def _in_doubt(row: Row, recipe: Recipe) -> SetAside:
    fault = SetAside("load", row.id, row.file, row.line, row.doubt or "")
    if recipe.on_bad_row == "stop":
        raise BuildFailed(f"{fault.file}, line {fault.line}: {fault.reason} (on_bad_row is 'stop').")
    return fault


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk
