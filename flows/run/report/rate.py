"""Rate of a build over time, as a plot in its report: images per second between two readings of the counters.

The plot is an SVG inside the Markdown, so that both of Prefect's dashboards show it with no further request.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import pairwise

MAX_POINTS = 120
"""Points of the plot: when there are more, every second one is left out, so that a build of any length has one."""

MIN_STEP_S = 2.0
"""Least number of seconds between two points."""

WIDTH, HEIGHT = 640, 130
_LEFT, _TOP, _BOTTOM = 8, 24, 20
_LINE, _FILL, _GREY = "#1860f2", "#dbe6fd", "#555555"


class RateHistory:
    """Images that were generated, by the seconds of the build."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = [(0.0, 0)]
        self._last = (0.0, 0)
        self._step = MIN_STEP_S

    def add(self, seconds: float, generated: int) -> None:
        """Record the counters now."""
        self._last = (seconds, generated)
        if seconds - self._points[-1][0] > self._step:
            self._points.append(self._last)
        if len(self._points) > MAX_POINTS:
            self._points = self._points[::2]
            # From now on points are about as far apart as the remaining ones.
            self._step = 0.9 * (self._points[-1][0] - self._points[-2][0])

    def rates(self) -> Iterator[tuple[float, float, float]]:
        """(Seconds from, seconds to, images per second between them)."""
        # The last look may have come too soon after a point to be one.
        is_close = len(self._points) > 1 and self._last[0] - self._points[-1][0] <= MIN_STEP_S
        points = [*(self._points[:-1] if is_close else self._points), self._last]
        for (start, before), (end, after) in pairwise(points):
            if end > start:
                yield start, end, max(0, after - before) / (end - start)


def rate_section(history: RateHistory, length: str) -> str:
    """The plot as Markdown; empty before there is anything to plot. ``length``: of the build, such as ``12 min``."""
    spans = list(history.rates())
    if len(spans) < 2 or not any(rate for _, _, rate in spans):
        return ""
    plot = base64.b64encode(_plot(spans, length).encode()).decode()
    return f"\n## Images per second, over time\n\n![Images per second](data:image/svg+xml;base64,{plot})\n"


def _plot(spans: list[tuple[float, float, float]], length: str) -> str:
    """The SVG: steps, since each rate is that of a span of time."""
    highest, end = max(rate for _, _, rate in spans), spans[-1][1]
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _LEFT

    def place(seconds: float, rate: float) -> str:
        x = _LEFT + seconds / end * (right - _LEFT)
        return f"{x:.1f},{bottom - rate / highest * (bottom - _TOP):.1f}"

    line = " ".join(f"{place(start, rate)} {place(stop, rate)}" for start, stop, rate in spans)
    text = f'font-family="sans-serif" font-size="12" fill="{_GREY}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<polygon points="{_LEFT},{bottom} {line} {right},{bottom}" fill="{_FILL}"/>'
        f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="{_GREY}"/>'
        f'<text x="{_LEFT}" y="16" {text}>at most {highest:.3g} images/s</text>'
        f'<text x="{_LEFT}" y="{HEIGHT - 5}" {text}>start</text>'
        f'<text x="{right}" y="{HEIGHT - 5}" text-anchor="end" {text}>{length}</text>'
        "</svg>"
    )
