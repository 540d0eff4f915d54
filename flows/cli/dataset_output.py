"""Output of the commands that read a dataset: as text, or as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.reader import find_dataset, read_runs
from imagemill.data.errors import DatasetDiffers
from imagemill.data.export.snapshot import snapshot
from imagemill.data.messages import MAX_REASON, MAX_SHOWN, cut, message
from imagemill.data.verify.diff import DiffSample, compare
from imagemill.data.verify.integrity import verify_files
from imagemill.flows.run.dashboard_text import format_duration
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.runner.processes.fast_imports import fast_imports


def print_plan(recipe: Recipe, retry_set_aside: bool, as_json: bool) -> int:
    """Print what a build of the recipe would do; returns the exit code. Raises ImagemillError."""
    from imagemill.flows.plan_dataset import plan_dataset

    figures = plan_dataset(recipe, retry_set_aside)
    if as_json:
        return print_json(figures)
    inverse = figures.get("judging", {}).get("inverse", 0)
    kept = figures["rows"] - figures["reused"] - figures["new"] - inverse
    print(f"{figures['output']}: {count_of(figures['rows'], 'row')} after the build")
    _line("reused", f"{count_of(figures['reused'], 'finished row')}")
    if kept:
        _line("kept", f"{count_of(kept, 'row')} whose prompts were removed")
    for kind in ("new", "removed", "set_aside"):
        _line(kind.replace("_", " "), count_of(figures[kind], "row"))
    for reason in figures["reasons"]:
        _line("", cut(reason, 2 * MAX_SHOWN))
    if asking := figures.get("asking"):
        _print_asking(asking)
    if figures["damaged_files"]:
        _line("damaged", f"{', '.join(figures['damaged_files'])}: these rows are regenerated")
    models = [f"{count:,} with {cut(model)}" for model, count in figures["draw"].items() if count]
    _line("to generate", count_of(figures["images"], "image") + (f" ({', '.join(models)})" if models else ""))
    if figures["restored"] or figures["staged"]:
        _line(
            "existing",
            f"{count_of(figures['restored'], 'image')} of other rows, {figures['staged']:,} staged by an earlier build",
        )
    if judging := figures.get("judging"):
        _print_judging(judging, figures["images"])
    _line("time", _time(figures))
    _line("disk", _disk(figures))
    for note in figures["notes"]:
        _line("note", note)
    return 0


def _print_asking(asking: Mapping[str, Any]) -> None:
    """Requests that language models would get. A refusal is tried once more, so the number may grow."""
    _line("to ask", _questions(asking["questions"], asking["costs"]) or "nothing")
    if asking["rows"]:
        _line("", f"{count_of(asking['rows'], 'row')} without words yet, in none of the other figures")


def _questions(questions: Mapping[str, int], costs: Mapping[str, float]) -> str:
    """Requests of each place of the recipe, at most, and their cost."""
    return ", ".join(
        f"up to {count_of(count, 'question')} by {cut(name)}" + (f" (about {costs[name]:g})" if name in costs else "")
        for name, count in questions.items()
    )


def _print_judging(judging: Mapping[str, Any], most: int) -> None:
    if judging["generate_at_least"] < most:
        _line("", f"at least {judging['generate_at_least']:,}; the rest is for later steps, and depends on the choices")
    scores = [f"{count:,} by {cut(name)}" for name, count in judging["score"].items()]
    _line("to score", ", ".join(scores) or "nothing")
    if asks := _questions(judging["ask"], judging["ask_costs"]):
        _line("to ask", f"{asks}, about images that pass the other rules")
    if judging["to_rejected"] or judging["from_rejected"]:
        _line("moved", f"{judging['to_rejected']:,} to rejected/, {judging['from_rejected']:,} back from there")
    if judging["inverse"]:
        _line("inverse", f"up to {judging['inverse']:,} of the rows are inverse ones, for which nothing is generated")
    if judging["pairs"]:
        _line("pairs", f"{judging['pairs']:,} of rows that are finished")
    if judging["rewritten_bytes"]:
        _line("rewritten", decimal(judging["rewritten_bytes"]))


def _time(figures: Mapping[str, Any]) -> str:
    if not figures["images"]:
        return "nothing to generate: a few seconds"
    if figures["seconds"] is None:
        return "unknown: nothing was generated for this dataset yet"
    duration = format_duration(figures["seconds"])
    return f"about {duration}, at the {figures['images_per_second']:.2f} images/s of the last runs"


def _disk(figures: Mapping[str, Any]) -> str:
    if figures["bytes"] is None:
        return "unknown: this dataset has no finished row yet"
    per_row, added = decimal(figures["bytes_per_row"]), decimal(figures["bytes_added"])
    return f"about {added} more, {decimal(figures['bytes'])} in total ({per_row} per row)"


def _line(name: str, text: str) -> None:
    print(f"  {name:<11} {text}")


def print_verified(
    output: str, regenerate: int, seed: int, row: str, workers: int | None, cluster: str | None, as_json: bool
) -> int:
    """Verify a dataset and print the result; returns 0 if everything matches, 1 otherwise. Raises ImagemillError."""
    report = (
        _run_verify(output, regenerate, seed, row, workers, cluster)
        if regenerate or row
        else verify_files(output, measures_of).to_json()
    )
    code = 0 if report["good"] else 1
    if as_json:
        return print_json(report) or code
    size = ", ".join(count_of(report[name], name.removesuffix("s")) for name in ("files", "rows", "images"))
    if report.get("rejected"):
        size += f", {count_of(report['rejected'], 'row')} in rejected/"
    print(f"{report['output']}: {size}, {decimal(report['bytes'])}")
    if report["counts"]:
        _print_faults(report, bool(regenerate or row))
    else:
        print(f"Everything matches the manifest. Fingerprint: {report['fingerprint']}")
    if report.get("regenerated"):
        _print_regenerated(report)
    return code


def _run_verify(
    output: str, regenerate: int, seed: int, row: str, workers: int | None, cluster: str | None
) -> dict[str, Any]:
    from imagemill.flows.cli.build_command import quiet_prefect

    quiet_prefect()
    with fast_imports():
        from imagemill.flows.prefect_server.connection import find_server, start_server_early

        start_server_early()
        from imagemill.flows.verify_dataset import verify_dataset
        from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    find_server()
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(workers, cluster))
    try:
        return flow(output, regenerate, seed, row)
    except DatasetDiffers as error:
        return error.report


def _print_faults(report: Mapping[str, Any], regenerates: bool) -> None:
    count = sum(report["counts"].values())
    print(f"{count_of(count, 'difference')} from the manifest:")
    for fault in report["faults"]:
        row = f", row {cut(fault['id'])}" if fault["id"] is not None else ""
        print(f"  {fault['kind']:<11} {cut(fault['file'])}{row}: {message(fault['what'], MAX_REASON)}")
    if count > len(report["faults"]):
        print(f"  ... and {count - len(report['faults']):,} more")
    if regenerates:
        print("No row was regenerated: the files have to be repaired first.")
    print("Run `imagemill build` with the dataset's recipe to generate the rows of damaged files again.")


def _print_regenerated(report: Mapping[str, Any]) -> None:
    print(f"Regenerated: {count_of(report['regenerated'], 'row')}, {report['bit_equal']:,} of them bit-equal")
    for row in report["not_bit_equal"]:
        why = f"PSNR {row['psnr']:.1f} dB" if row["psnr"] is not None else row["why"] or "only its encoding differs"
        print(f"  {row['result']:<11} {cut(row['file'])}, row {cut(row['id'])}: {message(why, MAX_REASON)}")
    for name, (before, now) in report["differing"].items():
        print(f"  {name}: {now} now, {before} in the manifest")
    if report["not_bit_equal"] and not report["differing"]:
        print("  Hardware, versions and models are those of the manifest.")


def print_history(output: str, as_json: bool) -> int:
    """Print the runs of a dataset, oldest first; returns the exit code. Raises ImagemillError."""
    runs = read_runs(find_dataset(output))
    if as_json:
        return print_json({"output": output, "runs": runs})
    # Without borders, it fits into 80 columns.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("started (UTC)", no_wrap=True)
    # The counts of candidates take the place of what is known from the dashboard.
    is_judged = any("candidates" in run for run in runs)
    columns = _JUDGED if is_judged else _COLUMNS
    for name in ("seconds", "status", *columns):
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    for run in runs:
        table.add_row(str(run.get("started", "?"))[:16].replace("T", " "), *_cells(run, columns))
    Console(width=None if sys.stdout.isatty() else 220).print(table)
    last = runs[-1] if runs else {}
    if "error" in last:
        print(f"The last run stopped: {message(last['error'], MAX_REASON)}")
    return 0


_COLUMNS = {
    "planned": "planned",
    "reused": "reused",
    "generated": "generated",
    "set aside": "set_aside",
    "images/s": "images_per_second",
    "loads": "model_loads",
}
"""Column of the history -> figure of a run."""

_JUDGED = {
    "generated": "generated",
    "scored": "scored",
    "rejected": "rejected",
    "kept": "kept",
    "short": "short",
    "set aside": "set_aside",
}


def _cells(run: Mapping[str, Any], columns: Mapping[str, str]) -> Sequence[str]:
    figures = (run.get(figure, "?") for figure in columns.values())
    return [f"{run.get('seconds', 0):.1f}", run.get("status", "?"), *map(str, figures)]


def print_difference(a: str, b: str, as_json: bool) -> int:
    """Compare two datasets and print the result; returns 0 if they are equal, 1 otherwise. Raises ImagemillError."""
    difference = compare(a, b)
    code = 0 if difference.equal else 1
    if as_json:
        return print_json({"a": a, "b": b, "equal": difference.equal, **asdict(difference)}) or code
    print(f"{a} and {b}: {count_of(difference.same, 'row')} with the same images")
    _print_sample(f"only in {a}", difference.only_a)
    _print_sample(f"only in {b}", difference.only_b)
    _print_sample("in both, with other bytes", difference.changed)
    for name, (in_a, in_b) in difference.beside.items():
        print(f"  {name}/: {count_of(in_a, 'row')} in {a}, {in_b:,} in {b}")
    return code


def _print_sample(label: str, sample: DiffSample) -> None:
    ids = f" ({', '.join(map(cut, sample.ids))}" if sample.ids else ""
    end = "" if not ids else ", ...)" if sample.rows > len(sample.ids) else ")"
    print(f"  {label}: {count_of(sample.rows, 'row')}{ids}{end}")


def count_of(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def print_snapshot(output: str, to: Path, as_json: bool) -> int:
    """Take a snapshot of a dataset and print where it is; returns the exit code. Raises ImagemillError."""
    done = snapshot(output, to)
    if as_json:
        return print_json(done)
    if done["written"]:
        files = f"{count_of(done['files'], 'file')}, {done['linked']:,} of them linked"
        print(f"{to}: {count_of(done['rows'], 'row')} in {files}, fingerprint {done['fingerprint'][:12]}")
    else:
        print(f"{to}: {count_of(done['rows'], 'row')}; it was there already")
    return 0


def print_json(value: Any) -> int:
    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0
