"""Pages of the gallery: what the templates show. Every value is escaped there, whatever is in a row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.responses import HTMLResponse

from imagemill.data.dataset.schema import OWN_COLUMNS
from imagemill.data.view.gallery import Gallery
from imagemill.data.view.query import SHOWS, Query
from imagemill.data.view.records import CARD_COLUMNS, ViewRow
from imagemill.flows.view import links
from imagemill.flows.view.formats import FILTERS
from imagemill.flows.view.recipe_lines import recipe_flag, recipe_lines, threshold_place

TEMPLATES = Path(__file__).parent / "templates"

OWN = OWN_COLUMNS | frozenset(CARD_COLUMNS)
"""Columns that imagemill writes; the others were carried over from the prompts file."""

MAX_RELATED = 100
"""Candidates and turns of a prompt row that its page shows."""

MAX_HISTOGRAMS = 24

PAIRS_A_PAGE = 30

SET_ASIDE_A_PAGE = 200

BORDER = 4
"""Images on each side of a threshold."""


class Pages:
    """Renders the pages of one gallery."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= FILTERS
        for function in (links.address, links.grid_link, links.row_link, links.image_link):
            self._templates.globals[function.__name__] = function

    def _render(self, name: str, code: int = 200, **values: Any) -> HTMLResponse:
        page = self._templates.get_template(name)
        return HTMLResponse(
            page.render(state=self._gallery.state(), query=values.pop("query", Query()), **values), code
        )

    def message(self, text: str, code: int) -> HTMLResponse:
        """A page with a sentence."""
        return self._render("message.html", code, text=text)

    def bad_query(self, text: str, given: Mapping[str, str]) -> HTMLResponse:
        """The form of a query that cannot be used, with what is wrong with it."""
        show, words = given.get("show", ""), given.get("words", "")
        query = Query("data" if show not in SHOWS else show, words[:80], given.get("where", ""))
        return self._render("grid.html", 400, query=query, error=text, page=None, **self._choices(query))

    def _choices(self, query: Query) -> dict[str, Any]:
        columns = self._gallery.columns()
        return {
            "sorts": self._gallery.number_columns(),
            "columns": columns,
            "reasons": self._gallery.reasons() if "rejected" in query.areas else {},
        }

    def grid(self, query: Query, number: int, rows: int) -> HTMLResponse:
        """Page ``number`` of a query's rows, from 0."""
        page = self._gallery.page(query, number * rows, rows)
        last = max(0, (page.total - 1) // rows)
        counted = self._gallery.state().rows
        return self._render(
            "grid.html",
            query=query,
            page=page,
            of=sum(counted[area] for area in query.areas),
            number=number,
            last=last,
            error="",
            **self._choices(query),
        )

    def row(self, row: ViewRow, query: Query, position: int | None) -> HTMLResponse:
        """One row's page."""
        shown = {"prompt", "edit_prompt", "id", *(f"score_{name}" for name in row.scores)}
        shown |= {f"input_score_{name.removeprefix('input_')}" for name in row.scores}
        values = {name: value for name, value in row.values.items() if name not in shown and value is not None}
        own = {image.column: image for image in row.images if image.column in ("image", "input_image", "edited_image")}
        return self._render(
            "row.html",
            query=query,
            row=row,
            position=position,
            own=list(own.values()),
            others=[image for image in row.images if image.column not in own],
            provenance={name: value for name, value in values.items() if name in OWN},
            carried={name: value for name, value in values.items() if name not in OWN},
            command=self._command(row),
        )

    def _command(self, row: ViewRow) -> str | None:
        """The command that generates the row's images again; None before the dataset is finished."""
        if row.part.area != "data" or not row.key or not self._gallery.state().is_finished:
            return None
        return f"imagemill verify {shlex.quote(self._gallery.output)} --row {shlex.quote(row.key)}"

    def related(self, key: str, row_id: str) -> HTMLResponse:
        """The other candidates and turns of a row."""
        rows = self._gallery.related(row_id, MAX_RELATED) if row_id else []
        variants: dict[Any, list[ViewRow]] = {}
        for row in rows:
            variants.setdefault(row.values.get("variant"), []).append(row)
        turns = any(row.values.get("turn_index") is not None for row in rows)
        return self._render("related.html", rows=rows, key=key, conversations=variants if turns else {})

    def scores(self, query: Query, chosen: Sequence[str]) -> HTMLResponse:
        """Histograms of the scores, or of the ``chosen`` columns."""
        known = self._gallery.number_columns()
        scores = [name for name in known if name.startswith(("score_", "input_score_"))]
        columns = [name for name in chosen if name in known] or scores
        histograms = []
        for column in columns[:MAX_HISTOGRAMS]:
            histogram = self._gallery.histogram(column, query)
            if histogram is None:
                continue
            place = threshold_place(self._gallery.state().recipe, column)
            histograms.append(
                {
                    "histogram": histogram,
                    "json": json.dumps(_plain_histogram(histogram)),
                    "lines": recipe_lines(place) if place else None,
                    "flag": recipe_flag(place) if place else None,
                    "limits": _limits(self._gallery.state().recipe, place),
                }
            )
        return self._render(
            "scores.html", query=query, histograms=histograms, others=[name for name in known if name not in columns]
        )

    def border(self, query: Query, column: str, value: str) -> HTMLResponse:
        """Images just below and just above a threshold."""
        below, above = self._gallery.border(query, column, value, BORDER)
        return self._render("border.html", query=query, below=below, above=above, column=column)

    def pairs(self, number: int) -> HTMLResponse:
        """Page ``number`` of the preference pairs."""
        pairs, total = self._gallery.pairs(number * PAIRS_A_PAGE, PAIRS_A_PAGE)
        last = max(0, (total - 1) // PAIRS_A_PAGE)
        return self._render("pairs.html", pairs=pairs, total=total, number=number, last=last)

    def set_aside(self, words: str, number: int) -> HTMLResponse:
        """Page ``number`` of the rows set aside whose reason or id has these words."""
        rows = self._gallery.set_aside()
        found = [row for row in rows if _has(row, words)] if words.strip() else rows
        last = max(0, (len(found) - 1) // SET_ASIDE_A_PAGE)
        here = found[number * SET_ASIDE_A_PAGE : (number + 1) * SET_ASIDE_A_PAGE]
        return self._render(
            "set_aside.html", rows=here, found=len(found), total=len(rows), words=words, number=number, last=last
        )

    def runs(self) -> HTMLResponse:
        """The runs and their figures."""
        return self._render("runs.html", runs=self._gallery.runs())


def _has(row: Mapping[str, Any], words: str) -> bool:
    text = " ".join(str(row.get(name) or "") for name in ("id", "reason", "stage", "file")).lower()
    return all(word in text for word in words.lower().split())


def _plain_histogram(histogram: Any) -> dict[str, Any]:
    return {name: getattr(histogram, name) for name in histogram.__slots__}


def _limits(recipe: Mapping[str, Any], place: tuple[str, ...] | None) -> dict[str, Any]:
    """The recipe's present limits there: ``min`` and ``max``."""
    section: Any = recipe
    for name in place or ():
        section = section[int(name)] if isinstance(section, list) else (section or {}).get(name)
    return (
        {name: section[name] for name in ("min", "max") if section.get(name) is not None} if section and place else {}
    )
