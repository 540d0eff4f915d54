"""Screenshots of docs/topics/view.md: a dataset of edits, and one with scores, in `imagemill view`.

python docs/tools/take_view_screenshots.py EDITS SCORED [TO]    # two datasets; the images go to docs/images or to TO

Needs Chromium (Debian: apt-get install chromium). Look at every image before you commit it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import Page, open_browser

IMAGES = Path(__file__).parents[1] / "images"


@contextmanager
def viewed(page: Page, output: str) -> Iterator[str]:
    """The address of a gallery that the browser has opened by its link."""
    command = [sys.executable, "-m", "imagemill", "view", output]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            link = re.search(r"http://\S+", process.stdout.readline())
            assert link is not None, "the command prints a link first"
            page.open(link[0])
            page.wait_for("rows")
            yield link[0].partition("/open/")[0]
        finally:
            page.open("about:blank")
            process.terminate()


def take(edits: str, scored: str, to: Path) -> None:
    """Save the screenshots."""
    with open_browser(1280, 800) as page:
        with viewed(page, edits) as address:
            page.open(f"{address}/")
            page.wait_until_loaded()
            page.save_image(to / "view-grid.png")
            page.open(f"{address}/at?i=7")
            page.wait_until_loaded()
            page.run("setMode('slide')")
            page.save_image(to / "view-slider.png")
            page.run("setMode('side')")
        with viewed(page, scored) as address:
            page.open(f"{address}/scores?show=all")
            page.wait_until_loaded()
            page.run("document.querySelector('.look').click()")
            page.wait_for("just above")
            page.save_image(to / "view-scores.png")
            page.run("toggleTheme()")
            page.open(f"{address}/?show=rejected")
            page.wait_until_loaded()
            page.save_image(to / "view-rejected.png")


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if sys.argv[3:] else IMAGES)
