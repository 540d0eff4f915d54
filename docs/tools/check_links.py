"""Check of the links between pages: every file and every heading that one leads to exists. Other hosts are not fetched.

python docs/tools/check_links.py    # exit code 1, and a line for each broken link: file:line, link
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from check_words import ROOT, pages

LINK = re.compile(r"\]\((?!\w+:|<)([^)#\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"^```.*?^```", re.S | re.M)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.M)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    seen: Counter[str] = Counter()
    result = set()
    for name in names:
        result.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(result)


def broken(page: Path) -> Iterator[tuple[int, str]]:
    """Line and link of each link of a page that leads nowhere."""
    text = CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), page.read_text(encoding="utf-8"))
    for found in LINK.finditer(text):
        path, anchor = found.groups()
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            yield text.count("\n", 0, found.start()) + 1, f"{path}#{anchor}" if anchor else path


def main() -> int:
    """Print every broken link; returns the exit code."""
    count = 0
    for page in pages():
        for line, link in broken(page):
            print(f"{page.relative_to(ROOT).as_posix()}:{line}: {link} leads nowhere")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
