"""The pages of docs/guides/ and README.md are read as a user reads them: pasted from top to bottom.

Each page has an empty folder and an empty HOME, whose Prefect database has its tables already. A YAML block whose first
line is a comment with a name is written to that file; `sh` and `python` blocks run in order, with `bash -e`, and keep
what they export; a `text` block after them shows lines of their output, without times, sizes, hashes and scores. After
`<!-- another terminal -->` a block runs until the end of the page, and the test waits for the output below it.
After `<!-- not executed: reason -->` a block is not run: its YAML must be a recipe of models in the catalog, and its
commands must have the options that they name.

The test sets ports: where a page has 4200 (Prefect's server) and 8786 (the scheduler) there is a free one of the
loopback interface. All servers and workers are ended by their process ids.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from imagemill.data.config.load import load_recipe
from imagemill.flows.cli.app import app
from imagemill.models.catalog.entries import read_catalog
from tests.conftest import ROOT
from tests.docs.guide import Block, Reader, blocks_of, make_targets, missing_line

GUIDES = sorted(path for path in (ROOT / "docs/guides").glob("*.md") if path.name != "README.md")
PAGES = [ROOT / "README.md", *GUIDES]


def name_of(page: Path) -> str:
    return page.stem


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_works_from_top_to_bottom(page: Path, empty_home: Path, tmp_path: Path):
    reader = Reader(tmp_path, empty_home)
    try:
        for block in blocks_of(page):
            reader.read(block)
    finally:
        reader.end()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_shows_of_other_models_is_valid(page: Path):
    for block in blocks_of(page):
        if not block.is_executed:
            check(block)


def check(block: Block) -> None:
    """Check a block that is not executed."""
    if block.kind == "yaml":
        check_models(yaml.safe_load(block.text))
        load_recipe(yaml.safe_load(block.text))
    elif block.kind == "sh":
        for program, *words in block.commands():
            if program.endswith("imagemill"):
                app.parse_args(words, exit_on_error=False, print_error=False)
            elif program == "make":
                assert words[0] in make_targets()


def check_models(fields: dict) -> None:
    """Check that a recipe names models and scorers that the catalog has, or a repository."""
    catalog = read_catalog()
    named = [fields[step]["model"] for step in ("generate", "edit") if step in fields]
    scorers = [scorer["model"] for scorer in fields.get("scorers", {}).values() if "model" in scorer]
    assert [name for name in named if "/" not in name and name not in catalog.models] == []
    assert [name for name in scorers if "/" not in name and name not in catalog.scorers] == []


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_a_guide_shows_the_same_with_published_models(page: Path):
    shown = [block for block in blocks_of(page) if not block.is_executed and block.kind in ("yaml", "sh")]
    assert shown, "no block for real models"


def test_the_index_lists_every_guide():
    listed = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/guides/README.md").read_text())
    assert sorted(listed) == [page.name for page in GUIDES]


def test_output_is_compared_without_times_and_hashes():
    printed = "out/a: 2 rows; 2 generated in 1 s (1.9 images/s); 0 set aside.\nFingerprint: 0123456789abcdef\n"
    assert missing_line("out/a: 2 rows; 2 generated in 20 s (7.0 images/s); 0 set aside.\n", printed) is None
    assert missing_line("Fingerprint: fedcba9876543210\n", printed) is None
    assert missing_line("out/a: ...; 0 set aside.\n", printed) is None
    assert missing_line("out/a: 3 rows; ...\n", printed) == "out/a: 3 rows; ..."
