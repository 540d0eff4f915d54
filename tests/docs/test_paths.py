"""Every file, module and function that the documentation names exists; docs/tools/check_links.py checks its links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "tools" not in page.relative_to(ROOT).parts]  # parts of generated pages

FOLDERS = r"(?:\.ci|\.github|benchmarks|data|docs|flows|imagemill|models|tasks|tests)"
FILE = re.compile(rf"(?<![\w./-]){FOLDERS}(?:/[\w.-]+)*/[\w-]+\.(?:jsonl|json|md|py|tsv|txt|yaml)\b(?!\.\w)(?::(\w+))?")
FOLDER = re.compile(rf"(?<![\w./-]){FOLDERS}(?:/[\w-]+)+/(?=[`\s])")
MODULE = re.compile(r"\bimagemill\.(?:data|flows|models|tasks)\b(?:\.\w+)*(?: import \w+)?")


def defines(module: Path, name: str) -> bool:
    return re.search(rf"^(?:(?:async )?def|class) {name}\b|^{name}(?:: .+)? = ", module.read_text(), re.M) is not None


def is_importable(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split(".")[1:])
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent.with_suffix(".py")
    return module.exists() and defines(module, path.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path):
    text = page.read_text()
    files = [(found[0].split(":")[0], found[1]) for found in FILE.finditer(text)]
    missing = [path for path, _ in files if not (ROOT / path).is_file()]
    missing += [
        f"{path}:{name}" for path, name in files if path not in missing and name and not defines(ROOT / path, name)
    ]
    missing += [found[0] for found in FOLDER.finditer(text) if not (ROOT / found[0]).is_dir()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_a_page_names_exists(page: Path):
    named = {found[0].replace(" import ", ".") for found in MODULE.finditer(page.read_text())}
    assert [name for name in sorted(named) if not is_importable(name)] == []
