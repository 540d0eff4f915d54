"""Report on the scores of a finished dataset, without a build: funnel, figures of each score, and other thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import mask_of
from imagemill.data.dataset.files.area import DATA, REJECTED, files_of
from imagemill.data.dataset.files.inverse import is_inverse
from imagemill.data.dataset.files.outcomes import outcomes_in
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_schema
from imagemill.data.dataset.reader import find_finished, read_runs
from imagemill.data.dataset.where import Where, parse_where
from imagemill.data.errors import OutputError, RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.data.scores.funnel import DUPLICATE, Funnel, bins_of, histogram
from imagemill.data.scores.records import DECIMALS
from imagemill.data.scores.selection import NOT_BEST, SURPLUS
from imagemill.data.storage.locations import Location, arrow_source
from imagemill.data.verify.score_rule import rule_line

_BATCH = 65_536
"""Rows that are read at a time, without their images."""


@dataclass(frozen=True, slots=True)
class ScoreFigures:
    """Figures of one score, over data/ and rejected/ together. All but the counts are None where no image has it."""

    number: int
    """Images that have it; an input that several rows share counts once."""
    nulls: int
    """Images that have none."""
    min: float | None = None
    lower_quartile: float | None = None
    median: float | None = None
    upper_quartile: float | None = None
    max: float | None = None
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """Counts of a filter over data/ and rejected/ together."""

    where: str
    rows: int
    of_rows: int
    prompts: int
    """Rows of the prompts file, by their ids, of which an image meets it."""
    of_prompts: int
    rule: str | None
    """The line of the recipe that selects by it; None if no ``select`` does."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Scores of one dataset."""

    output: str
    funnel: Funnel
    """The candidates, and rows without enough of them, as the last build counted them; the rest as the files are."""
    scores: Mapping[str, ScoreFigures]
    """Column (``score_<name>`` or ``input_score_<name>``) -> its figures."""
    threshold: Threshold | None = None
    column: str | None = None
    """Of the histogram."""
    bins: Sequence[tuple[float, int]] = ()
    """(lower end, number of images) of the histogram."""
    bars: Sequence[str] = ()
    """The histogram as text."""


def report_scores(output: str | Path, where: str | None = None, name: str | None = None) -> ScoreReport:
    """Read the scores of a finished dataset. ``where``: a filter; ``name``: of the scorer for the histogram.

    Raises RecipeError for a filter or a name that does not fit, NotAnImagemillDataset and OutputError. Memory: eight
    bytes a row and score.
    """
    folder, manifest = find_finished(output)
    files = [
        (area, folder.area(area).path / file["name"]) for area in (DATA, REJECTED) for file in files_of(manifest, area)
    ]
    schema = _joined(_schema(path) for _, path in files)
    columns = [column for column in schema.names if column.startswith(("score_", "input_score_"))]
    columns = [column for column in columns if any(column in outcomes_in(_schema(path)).names for _, path in files)]
    chosen = _column(name, columns) if name is not None else None
    names = {column.removeprefix("score_"): column for column in columns if column.startswith("score_")}
    parsed = parse_where(where, schema, names) if where is not None else None
    read = _Reading(columns, parsed)
    for area, path in files:
        read.add(area, path)
    scores = {column: read.scores(column) for column in columns}
    listed = [None if np.isnan(score) else score for score in scores[chosen].tolist()] if chosen else []
    return ScoreReport(
        output=str(output),
        funnel=_funnel(folder, manifest, read),
        scores={column: _figures(found) for column, found in scores.items()},
        threshold=read.threshold(parsed, manifest["recipe"]) if parsed else None,
        column=chosen,
        bins=bins_of(listed),
        bars=histogram(listed),
    )


class _Reading:
    """Columns that are read from the files."""

    def __init__(self, columns: Sequence[str], where: Where | None) -> None:
        self._columns, self._where = columns, where
        self._found: dict[str, list[np.ndarray]] = {column: [] for column in columns}
        self._inputs: set[str] = set()
        self.rows: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._passed = 0
        self._ids: set[str] = set()
        self._passed_ids: set[str] = set()

    def add(self, area: str, path: Location) -> None:
        """Read one file."""
        for table in self._batches(path):
            self.rows[area] += table.num_rows
            if area == REJECTED and "rejected_by" in table.column_names:
                self.reasons.update(reason for reason in table["rejected_by"].to_pylist() if reason is not None)
            is_own = self._is_own(table)
            is_first = self._is_first(table)
            for column in self._columns:
                wanted = is_first if column.startswith("input_") else is_own
                if column in table.column_names:
                    values = table[column].combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)
                else:
                    values = np.full(table.num_rows, np.nan)
                self._found[column].append(np.round(values[wanted], DECIMALS))
            if self._where is not None:
                ids, keeps = table["id"].to_pylist(), self._where.keeps(table)
                self._passed += sum(keeps)
                self._ids.update(ids)
                self._passed_ids.update(row for row, passes in zip(ids, keeps, strict=True) if passes)

    def scores(self, column: str) -> np.ndarray:
        """All scores of a column; NaN where an image has none."""
        return np.concatenate([np.empty(0), *self._found[column]])

    def threshold(self, where: Where, recipe: Mapping[str, Any]) -> Threshold:
        """The counts of the filter."""
        return Threshold(
            where=where.text,
            rows=self._passed,
            of_rows=sum(self.rows.values()),
            prompts=len(self._passed_ids),
            of_prompts=len(self._ids),
            rule=rule_line(recipe, where.comparisons),
        )

    def _batches(self, path: Location) -> Iterator[pa.Table]:
        wanted = {*self._columns, "row_key", "id", "image_key", "input_key", "rejected_by"}
        wanted |= self._where.columns if self._where else set()
        try:
            with pq.ParquetFile(arrow_source(path)) as file:
                names = [name for name in file.schema_arrow.names if name in wanted]
                for batch in file.iter_batches(_BATCH, columns=names):
                    rows = pa.Table.from_batches([batch])
                    # Inverse rows have no scores.
                    yield rows.filter(mask_of([not is_inverse(key) for key in rows["row_key"].to_pylist()]))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    def _is_own(self, table: pa.Table) -> np.ndarray:
        """Of each row whether it has an image of the last step: the input of edits that were not made is none."""
        return _is_valid(table, "image_key")

    def _is_first(self, table: pa.Table) -> np.ndarray:
        """Of each row whether its generated input was in no row before."""
        if not any(column.startswith("input_") for column in self._columns) or "input_key" not in table.column_names:
            return np.zeros(table.num_rows, bool)
        first = np.zeros(table.num_rows, bool)
        for number, key in enumerate(table["input_key"].to_pylist()):
            if key is not None and key not in self._inputs:
                self._inputs.add(key)
                first[number] = True
        return first


def _is_valid(table: pa.Table, column: str) -> np.ndarray:
    if column not in table.column_names:
        return np.ones(table.num_rows, bool)
    return table[column].combine_chunks().is_valid().to_numpy(zero_copy_only=False)


def _schema(path: Location) -> pa.Schema:
    try:
        return read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Location, error: BaseException) -> OutputError:
    why = "it is missing" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:200]
    return OutputError(f"{shown_path(path)} cannot be read ({why}); `imagemill verify` lists all faults.")


def _joined(schemas: Iterator[pa.Schema]) -> pa.Schema:
    """The columns of all files, each by the first that has it."""
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, field)
    return pa.schema([*fields.values()])


def _column(name: str, columns: Sequence[str]) -> str:
    """The column of a scorer, or the one of this name."""
    if (column := f"score_{name}") in columns:
        return column
    if name in columns:
        return name
    there = ", ".join(column.removeprefix("score_") for column in columns) or "none: no recipe has scored it"
    raise RecipeError(f"--histogram: the dataset has no score {shown(name)}; its scores are {there}.")


def _figures(scores: np.ndarray) -> ScoreFigures:
    known = scores[~np.isnan(scores)]
    if not len(known):
        return ScoreFigures(0, len(scores))
    values = [*np.quantile(known, [0, 0.25, 0.5, 0.75, 1]), known.mean()]
    low, lower, median, upper, high, mean = (round(float(value), DECIMALS) for value in values)
    return ScoreFigures(len(known), len(scores) - len(known), low, lower, median, upper, high, mean)


def _funnel(folder: Folder, manifest: Mapping[str, Any], read: _Reading) -> Funnel:
    last: Mapping[str, Any] = next(
        (run for run in reversed(read_runs(folder)) if run.get("status") == "complete" and "candidates" in run), {}
    )
    # Where rejected rows are not stored, the build has counted them.
    drops = manifest["recipe"].get("rejected") == "drop" and isinstance(last.get("failed"), Mapping)
    special = {NOT_BEST: "not_best", SURPLUS: "surplus", DUPLICATE: "duplicates"}
    failed = last["failed"] if drops else {why: n for why, n in read.reasons.most_common() if why not in special}
    counts = {field: last.get(field, 0) if drops else read.reasons[why] for why, field in special.items()}
    rejected = last.get("rejected", 0) if drops else read.rows[REJECTED]
    return Funnel(
        candidates=last.get("candidates", read.rows[DATA] + rejected),
        kept=read.rows[DATA],
        rejected=rejected,
        failed=dict(failed),
        short=last.get("short", 0),
        none_passed=last.get("none_passed", 0),
        scored=last.get("scored", 0),
        asked=last.get("asked", 0),
        **counts,
    )
