"""Verify a dataset against its manifest, and a regenerated sample of its rows against the stored images."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.context import FlowRunContext
from pydantic import Field

from imagemill.data.config.load import parse_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.published import restore_paths
from imagemill.data.dataset.reader import current_recipe, find_finished, read_paths
from imagemill.data.errors import DatasetDiffers, OutputError, RecipeError
from imagemill.data.messages import shown_path
from imagemill.data.storage.scratch import scratch_folder
from imagemill.data.verify.comparison import differing
from imagemill.data.verify.integrity import verify_files
from imagemill.data.verify.sampling import named_row, sample_rows
from imagemill.flows.prefect_server.served_flow import served
from imagemill.flows.run.cancellation import ends_in_time
from imagemill.models.catalog.spec import Model, Step
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models
from imagemill.tasks.foreign_recipe import check_foreign_recipe
from imagemill.tasks.pinned import pinned_threads
from imagemill.tasks.regenerate import regenerate as regenerate_rows
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

ROWS_PER_TASK = 16
"""Rows that one task regenerates."""


@served
@flow(name="verify-dataset", flow_run_name="verify {output}", task_runner=GpuTaskRunner(), persist_result=False)
def verify_dataset(
    output: str,
    regenerate: Annotated[int, Field(ge=0)] = 0,
    seed: Annotated[int, Field(ge=0)] = 0,
    row: str = "",
) -> dict[str, Any]:
    """Verify a finished dataset and return the report. Raises DatasetDiffers if anything differs.

    If files differ from the manifest, nothing is regenerated. Nothing is written into the folder.

    Args:
        output: Folder or URL of a finished dataset.
        regenerate: Number of rows to regenerate and compare.
        seed: Seed that selects these rows.
        row: Row key of one row to regenerate and compare; empty: none.
    """
    with ends_in_time():
        report = check_files(output)
        if (regenerate or row) and report["good"]:
            report |= _regenerate(output, regenerate, seed, row)
    if report.get("regenerated"):
        report["good"] = not report["regenerated_otherwise"]
    if not report["good"]:
        raise DatasetDiffers(summary(report), report)
    get_run_logger().info("%s", summary(report))
    return report


@task(name="verify files", task_run_name="verify the files of {output}", persist_result=False)
def check_files(output: str) -> dict[str, Any]:
    """Verify files, columns, every image's bytes and the fingerprint against the manifest."""
    return verify_files(output, measures_of).to_json()


def _regenerate(output: str, rows: int, seed: int, row: str) -> dict[str, Any]:
    folder, manifest = find_finished(output)
    models = _models(folder, manifest)
    runner = FlowRunContext.get().task_runner
    runner.cpu_threads = pinned_threads(folder)
    in_flight, results, devices = deque(), [], set()

    def collect() -> None:
        compared, names = in_flight.popleft().result()
        results.extend(compared)
        devices.update(names)

    with tempfile.TemporaryDirectory(prefix="verify-", dir=scratch_folder()) as scratch:
        given = Path(scratch)
        named = named_row(folder, manifest, row, given) if row else iter(())
        sample = chain(named, sample_rows(folder, manifest, rows, seed, given))
        while batch := list(islice(sample, ROWS_PER_TASK)):
            while len(in_flight) >= runner.max_in_flight():
                collect()
            # Separate folders: two tasks may generate the same input image.
            in_flight.append(regenerate_rows.submit(batch, models, Path(tempfile.mkdtemp(dir=scratch))))
        while in_flight:
            collect()
    facts = {step: spec.facts() for step, spec in models.items()}
    return {
        "regenerated": len(results),
        "bit_equal": sum(row.result == "bit-equal" for row in results),
        "regenerated_otherwise": sum(not row.good for row in results),
        "not_bit_equal": [row.to_json() for row in results if row.result != "bit-equal"],
        "differing": differing(manifest, facts, devices),
    }


def _models(folder: Folder, manifest: Mapping[str, Any]) -> dict[Step, Model]:
    """The models of the manifest's recipe, as they are now. Raises OutputError."""
    try:
        # The folder's present location, since it records the repositories' commits.
        published = current_recipe(manifest["recipe"])
        recipe = parse_recipe({**restore_paths(published, read_paths(folder)), "output": str(folder.root)})
        check_foreign_recipe(recipe)
        return resolve_models(recipe)
    except RecipeError as error:
        raise OutputError(
            f"no row of {shown_path(folder.root)} can be regenerated, since the recipe in its manifest cannot be used "
            "here: "
            f"{error}"
        ) from error


def summary(report: Mapping[str, Any]) -> str:
    """The report in a few sentences."""
    output = report["output"]
    size = f"files: {report['files']}, rows: {report['rows']:,}, images: {report['images']:,}"
    if report["counts"]:
        kinds = ", ".join(f"{number} {kind}" for kind, number in report["counts"].items())
        first = report["faults"][0]
        return (
            f"{shown_path(output)} differs from its manifest ({kinds}). The first: {first['file']}: {first['what']}. "
            "Run "
            "`imagemill build` with the dataset's recipe: it generates the rows of damaged and missing files again."
        )
    if not report.get("regenerated"):
        return f"{shown_path(output)} matches its manifest: {size}."
    generated = f"rows regenerated: {report['regenerated']}, {report['bit_equal']} of them bit-equal"
    if versions := report["differing"].get("encoding_version"):
        theirs, ours = versions
        generated += (
            f" (their files have encoding version {theirs}, and this version of imagemill writes {ours}: pixels count)"
        )
    if report["good"]:
        return f"{shown_path(output)} matches its manifest: {size}; {generated}."
    differing = ", ".join(report["differing"]) or "nothing that the manifest records"
    return (
        f"{shown_path(output)} matches its manifest, but regenerating gave other images: {generated}. Differing from "
        "the "
        f"manifest: {differing}."
    )
