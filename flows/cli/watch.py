"""`imagemill build --watch`: the progress of a build as lines, for a log, a pipe or a terminal without a bar."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagemill.flows.run.dashboard_text import format_duration, time_left
from imagemill.tasks.progress import Progress

WATCH_INTERVALS_S = ((60.0, 5.0), (600.0, 30.0))
"""(Seconds of the build, seconds between two lines until then)."""

LAST_WATCH_INTERVAL_S = 60.0
"""Seconds between two lines from then on."""


def progress_line(progress: Progress) -> str:
    """``12 of 36 images, 3.10 images/s, 2 set aside, 40 s, about 20 s left, ends about 2026-11-29 14:32 UTC``."""
    counts = progress.counts()
    if not counts["planned"]:
        return f"planning, {format_duration(counts['seconds'])}"
    scored = f", {progress.seen_scored:,} scored" if progress.judges else ""
    return (
        f"{counts['done']:,} of {counts['planned']:,} images, {counts['images_per_second']:.2f} images/s{scored}, "
        f"{counts['set_aside']:,} set aside, {format_duration(counts['seconds'])}{time_left(counts['seconds_left'])}"
    )


@contextmanager
def progress_lines() -> Iterator[Callable[[Progress], None]]:
    """Print a line to standard error now and then. Yields the function that starts it, for the build's Progress."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def follow(progress: Progress) -> None:
        last = ""
        while True:
            seconds = progress.seconds()
            interval = next((each for until, each in WATCH_INTERVALS_S if seconds < until), LAST_WATCH_INTERVAL_S)
            ended = stop.wait(interval)
            if (line := progress_line(progress)) != last:
                print(line, file=sys.stderr, flush=True)
            last = line
            if ended:
                return

    def on_start(progress: Progress) -> None:
        threads.append(threading.Thread(target=follow, args=(progress,), daemon=True, name="watch"))
        threads[-1].start()

    try:
        yield on_start
    finally:
        stop.set()
        for thread in threads:
            thread.join()
