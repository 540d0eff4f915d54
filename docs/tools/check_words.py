"""Check of the wording of pages, docstrings and messages: words that have a better one, and translated idioms.

python docs/tools/check_words.py [PATH ...]    # exit code 1, and a line for each finding: file:line, found, better
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from words import ALLOWED, HEADINGS, OPENINGS, WORDS

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/**/*.md")
MODULES = tuple(f"{folder}/**/*.py" for folder in ("flows", "tasks", "models", "data", "imagemill"))

SNIPPETS = ROOT / "docs/tools"
"""Parts of generated pages, which are checked as part of these."""

CODE = re.compile(r"```.*?```|~~~.*?~~~|``.+?``|`[^`]*`|<[^<>\n]*>|\]\([^)\n]*\)|https?://\S+", re.S)
"""Text that is no prose: code, HTML, targets of links."""


def pages() -> list[Path]:
    """The pages of the documentation."""
    found = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if SNIPPETS not in path.parents]


def check(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, found text and better text of each finding in a page or a module."""
    text = path.read_text(encoding="utf-8")
    for line, prose, is_docstring in _module(text) if path.suffix == ".py" else [(1, text, False)]:
        blanked = CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), prose)
        openings = OPENINGS if is_docstring else HEADINGS
        for pattern, better in ((openings, "the role, as a noun phrase or a verb"), *WORDS):
            for found in pattern.finditer(blanked):
                yield line + blanked.count("\n", 0, found.start()), " ".join(found[0].split()), better


def _module(text: str) -> Iterator[tuple[int, str, bool]]:
    """Line, text, and whether it is a docstring, of each docstring and each literal of several words."""
    tree = ast.parse(text)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.add(node.value)
            yield node.lineno, node.value.value, True
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in docstrings and " " in str(node.value).strip():
            yield node.lineno, str(node.value), False


def main(names: list[str]) -> int:
    modules = (path for pattern in MODULES for path in sorted(ROOT.glob(pattern)))
    paths = [Path(name).resolve() for name in names] or [*pages(), *modules]
    count = 0
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        allowed = [word for place, word in ALLOWED if name.startswith(place)]
        for line, found, better in check(path):
            if not any(word.fullmatch(found) for word in allowed):
                print(f"{name}:{line}: {found!r}; better: {better}")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
