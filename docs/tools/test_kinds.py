"""Fill in the kinds of tests of each feature in docs/status.md. With --check, only report what is wrong.

The page names the tests of each feature. Their kinds follow from the fixtures and helpers that these files
use. A test file that no feature names is an error.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/status.md"
TESTS = ROOT / "tests"
MARK = "x"
FEATURE_TABLE = "| feature | tests |"

KINDS: dict[str, set[str]] = {
    # Another program's server or scheduler, started for the tests.
    "server": {
        "server",
        "machine",
        "tests.flows.postgres",
        "tests.flows.prefect_server.own_builds",
        "tests.models.transformers_server",
        "tests.tasks.machine",
        "tests.tasks.running_build",
        "tests.tasks.slurm",
    },
    # Something of ours or an emulator in the place of a service, a model, a device or a clock.
    "stand-in": {
        "dataset_hub",
        "object_store",
        "tests.data.dataset_hub",
        "tests.data.web_site",
        "tests.faults.plain_build",
        "tests.flows.google_store",
        "tests.flows.hanging",
        "tests.models.chat_server",
        "tests.models.faulty",
        "tests.models.faulty_scorers",
        "tests.models.held",
        "tests.models.hub_stand_in",
        "tests.models.images_server",
        "tests.models.noisy",
        "tests.models.seeing_judge",
    },
    # Real classes of diffusers and transformers with few weights, random or the bundled ones, on a CPU.
    "tiny": {
        "model",
        "tests.models.adapters",
        "tests.models.controlnets",
        "tests.models.ip_adapters",
        "tests.models.jobs",
        "tests.models.score_jobs",
        "tests.models.tiny",
    },
}
"""Kind -> fixtures, and modules or packages of tests/, whose use makes a test one of that kind."""

IS_TINY = re.compile(r"from imagemill\.models\.bundled(\.architecture)? import")
"""How a test gets at the bundled models."""
KILLERS = {"tests.faults.shim"}
"""Helpers that kill a process on behalf of a test."""
COLUMNS = ("unit", "server", "kill", "stand-in", "tiny")


@cache
def source(path: Path) -> ast.Module:
    """The syntax tree of a file of tests/."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """All functions of a file."""
    return (node for node in ast.walk(source(path)) if isinstance(node, ast.FunctionDef))


def is_fixture(function: ast.FunctionDef) -> bool:
    """Whether pytest calls it for the tests that name it."""
    return any("fixture" in ast.unparse(decorator) for decorator in function.decorator_list)


@cache
def shared_fixtures() -> dict[str, set[str]]:
    """Each fixture of a helper file, with the fixtures that it uses itself."""
    helpers = [path for path in TESTS.rglob("*.py") if not path.name.startswith("test_")]
    return {
        function.name: asked_of(function) for path in helpers for function in functions(path) if is_fixture(function)
    }


def asked_of(function: ast.FunctionDef) -> set[str]:
    """The fixtures that a test or a fixture names, without the values that it is parametrized by."""
    decorators = " ".join(ast.unparse(decorator) for decorator in function.decorator_list)
    values = {
        name for names in re.findall(r"parametrize\(\(?((?:'[\w, ]+',? ?)+)", decorators) for name in _words(names)
    }
    return {argument.arg for argument in function.args.args} - values | {
        name for names in re.findall(r"usefixtures\((.*?)\)", decorators) for name in _words(names)
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def fixtures_of(path: Path) -> set[str]:
    """Every shared fixture that the tests of a file use, also through another."""
    own = {function.name: asked_of(function) for function in functions(path) if is_fixture(function)}
    tests = [function for function in functions(path) if function.name.startswith("test_")]
    marks = re.findall(r"^pytestmark = .*usefixtures\((.*?)\)", path.read_text(encoding="utf-8"), re.MULTILINE)
    unread = {name for test in tests for name in asked_of(test)} | {name for names in marks for name in _words(names)}
    found: set[str] = set()
    while unread:
        found |= unread
        unread = {used for name in unread for used in own.get(name, shared_fixtures().get(name, set()))} - found
    return found - set(own)


def modules_of(path: Path) -> set[str]:
    """The modules of tests/ that a file imports, also through a helper, without conftest.py and test files."""
    found: set[str] = set()
    ways = [path]
    while ways:
        for node in ast.walk(source(ways.pop())):
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)] if _is_of_tests(node) else []
            for name in filter(None, names):
                file = ROOT / f"{name.replace('.', '/')}.py"
                if name not in found and not file.name.startswith(("test_", "conftest")):
                    found.add(name)
                    ways += [file] * file.is_file()
    return found


def _is_of_tests(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests")


def kills(path: Path) -> bool:
    """Whether its tests kill a process, apart from cleaning up after themselves."""
    text = path.read_text(encoding="utf-8")
    if re.search(r"\bSIGKILL\b|:deadly\b", text) or KILLERS & modules_of(path):
        return True
    for function in functions(path):
        kept = ast.unparse(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Try) and node.finalbody:
                kept = kept.replace("\n".join(ast.unparse(line) for line in node.finalbody), "")
        if ".kill(" in kept and not is_fixture(function):
            return True
    return False


def named_pipelines(path: Path) -> set[str]:
    """The modules of tests/ that its text names as IMAGEMILL_PIPELINE or IMAGEMILL_SCORER."""
    return set(re.findall(r"[\"'](tests\.[\w.]+):", path.read_text(encoding="utf-8")))


@cache
def kinds_of(path: Path) -> frozenset[str]:
    """The kinds of one test file: `unit` where it has no other."""
    used = fixtures_of(path) | modules_of(path) | named_pipelines(path)
    text = path.read_text(encoding="utf-8")
    found = {
        kind
        for kind, signs in KINDS.items()
        if any(name == sign or name.startswith(f"{sign}.") for name in used for sign in signs)
    }
    found |= {"tiny"} if IS_TINY.search(text) else set()
    found |= {"kill"} if kills(path) else set()
    return frozenset(found or {"unit"})


def files_of(named: str) -> list[Path]:
    """The test files that a cell of the table names, by file or by folder."""
    paths = [ROOT / name for name in re.findall(r"`([^`]+)`", named)]
    return [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("test_*.py")))]


def filled(lines: Iterable[str]) -> tuple[list[str], set[Path]]:
    """The page with the marks of each feature, and the test files that its features name."""
    written, named, is_table = [], set(), False
    for line in lines:
        is_table = line.startswith(FEATURE_TABLE) or (is_table and line.startswith("|"))
        cells = line.strip().strip("|").split("|")
        if is_table and not line.startswith((FEATURE_TABLE, "|-")):
            files = files_of(cells[1])
            named |= set(files)
            kinds = set().union(*(kinds_of(file) for file in files))
            cells[2 : 2 + len(COLUMNS)] = [f" {MARK} " if column in kinds else " " for column in COLUMNS]
            line = f"|{'|'.join(cells)}|"
        written.append(line)
    return written, named


def main() -> int:
    """Write the page, or report what is wrong with it."""
    text = PAGE.read_text(encoding="utf-8")
    lines, named = filled(text.splitlines())
    missing = sorted(str(path.relative_to(ROOT)) for path in set(TESTS.rglob("test_*.py")) - named)
    if missing:
        print(f"docs/status.md has no feature for {', '.join(missing)}: name each in a row of its first table.")
        return 1
    new = "\n".join(lines) + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        print("docs/status.md has other kinds of tests than tests/ has: run `python docs/tools/test_kinds.py`.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
