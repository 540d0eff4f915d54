"""docs/reference/retries.md lists every retry limit and timeout, with the values of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.conftest import ROOT

LIMIT = re.compile(r"MAX_\w*(RETRIES|CRASHES|ATTEMPTS)|\w+_(TIMEOUT_S|DELAY_S|DELAYS_S)")


def constants(path: Path) -> dict[str, str]:
    """The literal constants of a module, as the page writes them."""
    values = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            values[node.targets[0].id] = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return values


def documented() -> dict[tuple[str, str], str]:
    """The page's table: (file, constant) -> value."""
    page = (ROOT / "docs/reference/retries.md").read_text(encoding="utf-8")
    return {(file, name): value for name, value, file in re.findall(r"\| `(\w+)` \| (.+?) \| (\S+\.py) \|\n", page)}


def test_every_documented_limit_has_the_value_of_the_code():
    table = documented()
    assert len(table) > 30
    assert table == {(file, name): constants(ROOT / file).get(name) for file, name in table}


def test_every_limit_in_the_code_is_documented():
    modules = [path for top in ("flows", "tasks", "models", "data") for path in (ROOT / top).rglob("*.py")]
    found = {
        (str(path.relative_to(ROOT)), name) for path in modules for name in constants(path) if LIMIT.fullmatch(name)
    }
    assert found <= set(documented())
