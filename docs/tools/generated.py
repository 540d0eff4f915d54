"""Writing of generated pages, and the Markdown that their generators share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_or_compare(page: Path, text: str) -> None:
    """Write a page; with --check on the command line only compare it, and exit with a message if it differs."""
    if "--check" not in sys.argv:
        page.write_text(text, encoding="utf-8")
    elif not page.exists() or page.read_text(encoding="utf-8") != text:
        sys.exit(f"docs/reference/{page.name} is not current: run `make docs`.")


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def plain(text: str) -> str:
    """Text without what Markdown would take for HTML."""
    return text.replace("<", "\\<")
