"""`imagemill scores`: funnel, figures and histograms of a dataset's scores, and what another threshold would keep."""

from __future__ import annotations

import json as as_json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from imagemill.data.verify.score_report import ScoreFigures, ScoreReport


def add_commands(app: App) -> None:
    """Register the command."""
    app.command(scores)


def scores(
    output: Annotated[str, Parameter(help="Folder or URL of a dataset that imagemill built.")],
    /,
    *,
    where: Annotated[
        str | None,
        Parameter(help='Count the images that another threshold would keep, such as "fits >= 0.3 and sharp >= 200".'),
    ] = None,
    histogram: Annotated[str | None, Parameter(help="Show the histogram of this scorer's scores.")] = None,
    forget: Annotated[
        str | None, Parameter(help="Only remove this scorer's scores from the dataset's scores/.")
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object.")] = False,
) -> int:
    """Summarize the scores of a finished dataset: the fate of its candidates, and figures of each score.

    Nothing is built. Exits with 0, 1 if the dataset cannot be read, 2 for a bad filter or an unknown scorer.
    """
    from imagemill.data.errors import RecipeError

    if forget is not None:
        if where is not None or histogram is not None:
            raise RecipeError("--forget is given with --where or --histogram: use it alone.")
        return _forget(output, forget, json)
    from imagemill.data.verify.score_report import report_scores

    report = report_scores(output, where, histogram)
    if json:
        print(as_json.dumps(_to_json(report), indent=2, ensure_ascii=False))
    else:
        _print(report)
    return 0


def _forget(output: str, name: str, json: bool) -> int:
    from imagemill.data.messages import shown
    from imagemill.data.scores.listing import forget_scorer

    removed = forget_scorer(output, name)
    if json:
        print(as_json.dumps({"output": output, "forgotten": name, "scores": removed}, indent=2, ensure_ascii=False))
    else:
        print(f"{output}: {removed:,} scores by {shown(name)} are removed.")
    return 0


def _to_json(report: ScoreReport) -> dict[str, object]:
    fields = asdict(report)
    del fields["bars"], fields["bins"], fields["column"]
    if report.column:
        fields["histogram"] = {"column": report.column, "bins": [[low, count] for low, count in report.bins]}
    return fields


def _print(report: ScoreReport) -> None:
    funnel = report.funnel
    print(f"{report.output}: {funnel.kept:,} rows in data/, {funnel.rejected:,} rejected")
    print("\n".join(f"  {line}" for line in funnel.lines()))
    if funnel.short or funnel.none_passed:
        print(f"  {funnel.short:,} rows keep fewer images than they should, {funnel.none_passed:,} keep none")
    if report.scores:
        _print_figures(report.scores)
    else:
        print("No image has a score: the recipe has no scorers.")
    if report.column:
        print(f"{report.column}:")
        print("\n".join(report.bars) or "  no image has it")
    if (threshold := report.threshold) is not None:
        print(
            f"{threshold.where}: {threshold.rows:,} of {threshold.of_rows:,} rows pass, and "
            f"{threshold.prompts:,} of {threshold.of_prompts:,} prompts keep one"
        )
        if threshold.rule is not None:
            print(f"In the recipe, beside its other bounds: {threshold.rule}")
        else:
            print("No select of the recipe does this: it has bounds of the scores of one step, all of which must hold.")


def _print_figures(scores: Mapping[str, ScoreFigures]) -> None:
    from rich.console import Console
    from rich.table import Table

    # Without borders, it fits into 80 columns.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("score", no_wrap=True)
    for name in ("images", "min", "25 %", "median", "75 %", "max", "mean", "none"):
        table.add_column(name, justify="right", no_wrap=True)
    for column, found in scores.items():
        values = (found.min, found.lower_quartile, found.median, found.upper_quartile, found.max, found.mean)
        cells = ("" if value is None else f"{value:.4g}" for value in values)
        table.add_row(column.removeprefix("score_"), f"{found.number:,}", *cells, f"{found.nulls:,}")
    Console(width=None if sys.stdout.isatty() else 220).print(table)
