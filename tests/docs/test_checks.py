"""The checks of `make lint` find what they look for: broken links of pages, and words that have a better one."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/tools"))
    yield
    for name in ("check_links", "check_words", "words"):
        sys.modules.pop(name, None)


def test_links_to_a_missing_file_and_a_missing_heading_are_found(tmp_path: Path):
    from check_links import broken

    (tmp_path / "other.md").write_text("# One\n\n## Twice\n\n## Twice\n\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#one) [b](other.md#twice-1) [c](https://example.org)\n"
        "[d](missing.md)\n[e](other.md#not-a-heading)\n```\n[f](missing.md)\n```\n[g](#none)\n"
    )

    assert list(broken(page)) == [(2, "missing.md"), (3, "other.md#not-a-heading"), (7, "#none")]


def test_a_better_word_is_offered_for_prose_but_not_for_code(tmp_path: Path):
    from check_words import check

    page = tmp_path / "page.md"
    page.write_text("A picture.\n`picture` and\n```\npicture\n```\nnobody\n")
    module = tmp_path / "module.py"
    module.write_text('"""What is measured."""\n\npicture = "picture"\nraise ValueError("no such picture")\n')

    assert [(line, found) for line, found, _ in check(page)] == [(1, "picture"), (6, "nobody")]
    assert [(line, found) for line, found, _ in check(module)] == [(1, "What"), (4, "picture")]
