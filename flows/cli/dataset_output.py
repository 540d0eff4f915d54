"""What the commands that only look print: for a person, or as one JSON object for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress
from rich.table import Table

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.reader import find_dataset, read_runs
from imagemill.data.errors import DatasetDiffers, RecipeError
from imagemill.data.export.export import export
from imagemill.data.export.formats import FORMATS
from imagemill.data.verify.diff import DiffSample, compare
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure import measures_of


def print_plan(recipe: Recipe, retry_set_aside: bool, as_json: bool) -> int:
    """What a build of the recipe would do; returns the exit code. Raises ImagemillError."""
    from imagemill.flows.plan_dataset import plan_dataset

    figures = plan_dataset(recipe, retry_set_aside)
    if as_json:
        return _print_json(figures)
    kept = figures["rows"] - figures["reused"] - figures["new"]
    print(f"{figures['output']}: {_count(figures['rows'], 'row')} when it is built")
    _line("reused", f"{_count(figures['reused'], 'finished row')}")
    if kept:
        _line("kept", f"{_count(kept, 'row')} that no prompt asks for any more")
    for what in ("new", "removed", "set_aside"):
        _line(what.replace("_", " "), _count(figures[what], "row"))
    if figures["damaged_files"]:
        _line("damaged", f"{', '.join(figures['damaged_files'])}: these rows are regenerated")
    models = [f"{count:,} with {model}" for model, count in figures["draw"].items() if count]
    _line("to draw", _count(figures["images"], "image") + (f" ({', '.join(models)})" if models else ""))
    if figures["restored"] or figures["staged"]:
        _line(
            "not generated",
            f"{_count(figures['restored'], 'image')} of other rows, {figures['staged']:,} staged before",
        )
    _line("time", _time(figures))
    _line("disk", _disk(figures))
    return 0


def _time(figures: Mapping[str, Any]) -> str:
    if not figures["images"]:
        return "nothing to draw: a few seconds"
    if figures["seconds"] is None:
        return "unknown: nothing was generated for this dataset yet"
    took = _duration(figures["seconds"])
    return f"about {took}, at the {figures['images_per_second']:.2f} images/s of the last runs"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


def _disk(figures: Mapping[str, Any]) -> str:
    if figures["bytes"] is None:
        return "unknown: this dataset has no finished row yet"
    each, added = decimal(figures["bytes_per_row"]), decimal(figures["bytes_added"])
    return f"about {added} more, {decimal(figures['bytes'])} in all ({each} a row)"


def _line(name: str, text: str) -> None:
    print(f"  {name:<10} {text}")


def print_verified(
    output: str, regenerate: int, seed: int, workers: int | None, cluster: str | None, as_json: bool
) -> int:
    """What was found in a finished dataset; returns 0 where all is good, else 1. Raises ImagemillError."""
    report = (
        _draw_again(output, regenerate, seed, workers, cluster)
        if regenerate
        else verify_files(output, measures_of).to_json()
    )
    code = 0 if report["good"] else 1
    if as_json:
        return _print_json(report) or code
    size = ", ".join(_count(report[what], what.removesuffix("s")) for what in ("files", "rows", "images"))
    print(f"{report['output']}: {size}, {decimal(report['bytes'])}")
    if report["counts"]:
        _print_faults(report, regenerate)
    else:
        print(f"All is as the manifest says. Fingerprint: {report['fingerprint']}")
    if report.get("regenerated"):
        _print_regenerated(report)
    return code


def _draw_again(output: str, regenerate: int, seed: int, workers: int | None, cluster: str | None) -> dict[str, Any]:
    from imagemill.flows.cli.build_command import quiet_prefect

    quiet_prefect()
    from imagemill.flows.prefect_server.connection import find_server
    from imagemill.flows.verify_dataset import verify_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    find_server()
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(workers, cluster))
    try:
        return flow(output, regenerate, seed)
    except DatasetDiffers as error:
        return error.report


def _print_faults(report: Mapping[str, Any], regenerate: int) -> None:
    count = sum(report["counts"].values())
    print(f"{count:,} {'thing is' if count == 1 else 'things are'} not as the manifest says:")
    for fault in report["faults"]:
        row = f", row {fault['id']}" if fault["id"] is not None else ""
        print(f"  {fault['kind']:<11} {fault['file']}{row}: {fault['what']}")
    if count > len(report["faults"]):
        print(f"  ... and {count - len(report['faults']):,} more")
    if regenerate:
        print("Nothing was regenerated: the files go first.")
    print("To mend it run `imagemill build` with the dataset's recipe: damaged files' rows are regenerated.")


def _print_regenerated(report: Mapping[str, Any]) -> None:
    print(f"Generated again: {_count(report['regenerated'], 'row')}, {report['bit_equal']:,} of them bit-equal")
    for one in report["not_bit_equal"]:
        how = f"PSNR {one['psnr']:.1f} dB" if one["psnr"] is not None else one["why"] or "only its encoding differs"
        print(f"  {one['result']:<11} {one['file']}, row {one['id']}: {how}")
    for name, (before, now) in report["differing"].items():
        print(f"  {name}: {now} now, {before} in the manifest")
    if report["not_bit_equal"] and not report["differing"]:
        print("  Hardware, versions and models are those that the manifest records.")


def print_history(output: str, as_json: bool) -> int:
    """The runs of a dataset, oldest first. Raises ImagemillError."""
    runs = read_runs(find_dataset(output))
    if as_json:
        return _print_json({"output": output, "runs": runs})
    # Without lines, it fits into 80 columns.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("started (UTC)", no_wrap=True)
    for name in ("seconds", "status", "planned", "reused", "generated", "set aside", "images/s", "loads"):
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    for run in runs:
        table.add_row(str(run.get("started", "?"))[:16].replace("T", " "), *_cells(run))
    Console().print(table)
    last = runs[-1] if runs else {}
    if "error" in last:
        print(f"The last run stopped: {last['error']}")
    return 0


def _cells(run: Mapping[str, Any]) -> Sequence[str]:
    numbers = ("planned", "reused", "generated", "set_aside", "images_per_second", "model_loads")
    return [f"{run.get('seconds', 0):.1f}", run.get("status", "?"), *(f"{run.get(name, '?')}" for name in numbers)]


def print_difference(one: str, other: str, as_json: bool) -> int:
    """What two datasets do not have in common; returns 0 where they are equal, else 1. Raises ImagemillError."""
    found = compare(one, other)
    code = 0 if found.equal else 1
    if as_json:
        return _print_json({"a": one, "b": other, "equal": found.equal, **asdict(found)}) or code
    print(f"{one} and {other}: {_count(found.same, 'row')} with the same images")
    _print_some(f"only in {one}", found.only_a)
    _print_some(f"only in {other}", found.only_b)
    _print_some("in both, with other bytes", found.changed)
    return code


def _print_some(what: str, some: DiffSample) -> None:
    named = f" ({', '.join(some.ids)}" if some.ids else ""
    more = "" if not named else ", ...)" if some.rows > len(some.ids) else ")"
    print(f"  {what}: {_count(some.rows, 'row')}{named}{more}")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def print_export(output: str, form: str, to: Path | None, as_json: bool) -> int:
    """Export a dataset and say where it is; returns the exit code. Raises ImagemillError."""
    if to is None and "://" in output:
        raise RecipeError(f"the dataset lies at {output!r}: give --to the folder on this machine that it is to go to.")
    target = to or Path(f"{output.rstrip('/')}-{form}")
    with Progress(transient=True, disable=as_json or not sys.stdout.isatty()) as bar:
        task = bar.add_task(f"export as {form}", total=None)
        done = export(output, target, form, emit=lambda done, parts: bar.update(task, completed=done, total=parts))
    if as_json:
        return _print_json(done)
    what = f"{_count(done['rows'], 'row')} as {form}: {FORMATS[form].what}"
    print(f"{target}: {what}" + ("" if done["written"] else "; it was there already"))
    return 0


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0
