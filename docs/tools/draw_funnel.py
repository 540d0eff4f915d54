"""Draws the funnel of a dataset's last judged build: python docs/tools/draw_funnel.py OUTPUT docs/images/funnel.svg."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from imagemill.data.dataset.reader import find_dataset, read_runs
from imagemill.data.scores.funnel import Funnel

WIDTH, BAR, GAP, LABEL, MARGIN = 640, 30, 8, 200, 16
REMAINING, LOST = "#3b6ea5", "#d9d9d9"


def draw(funnel: Funnel) -> str:
    """An SVG with a line for each reason: what goes on in blue, centred, and what that reason takes in grey."""
    left, lines, room = funnel.candidates, [("candidates", funnel.candidates, 0)], WIDTH - LABEL - 2 * MARGIN
    for name, count in funnel.losses():
        left -= count
        lines.append((name, left, count))
    height = len(lines) * (BAR + GAP) - GAP + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (name, remaining, lost) in enumerate(lines):
        top = MARGIN + number * (BAR + GAP)
        for count, colour in ((remaining + lost, LOST), (remaining, REMAINING)):
            width = room * count / max(1, funnel.candidates)
            x = LABEL + MARGIN + (room - width) / 2
            parts.append(f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
        label = f"{name}: -{lost:,}" if number else f"{name}: {remaining:,}"
        parts.append(f'<text x="{MARGIN}" y="{top + 20}">{escape(label)}</text>')
    middle, bottom = LABEL + MARGIN + room / 2, height - MARGIN - 10
    parts.append(f'<text x="{middle}" y="{bottom}" fill="white" text-anchor="middle">{funnel.kept:,} kept</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(output: str, target: str) -> None:
    """Draw the funnel of the dataset's last run that judged."""
    figures = next(run for run in reversed(read_runs(find_dataset(output))) if "candidates" in run)
    Path(target).write_text(draw(Funnel.of_figures(figures)))


if __name__ == "__main__":
    main(*sys.argv[1:])
