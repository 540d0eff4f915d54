"""imagemill is installed like any package, and works in a folder full of modules of the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset

from tests.conftest import ROOT, made_once

pytestmark = pytest.mark.slow

HOSTILE = [
    "tasks.py",
    "models.py",
    "flows/__init__.py",
    "data/__init__.py",
    "data/errors.py",
    "random.py",
    "yaml.py",
    "torch.py",
    "distributed.py",
]
"""What a user's folder may have; each of them must never be imported."""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        subprocess.run([*command, "--wheel-dir", str(folder), str(source_tree(folder))], check=True)

    return next(made_once(tmp_path_factory, "wheel", make).glob("*.whl"))


def clean() -> dict[str, str]:
    """The environment without PYTHONPATH: nothing but its own place may make the package importable."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def source_tree(folder: Path) -> Path:
    """A copy of what git tracks: building leaves a folder in the tree that it builds from."""
    tree = folder / "tree"
    for name in tracked("."):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return tree


def tracked(*folders: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).exists()]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a virtual environment with the wheel in it; its dependencies are this one's."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, env=clean())
    # A plain path, whose .pth files are not read: our editable install stays out.
    ours = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "dependencies.pth").write_text(f"{ours}\n")
    return venv / "bin" / "imagemill"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's working directory: a recipe, and modules that say so when they are imported."""
    for name in HOSTILE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"import sys\nsys.exit({f'{name} was imported'!r})\n")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a red circle"}\n')
    recipe = {"prompts": "prompts.jsonl", "generate": {"model": "bundled", "steps": 2}, "output": "out"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=clean() | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_every_file_of_the_four_folders(wheel: Path) -> None:
    wanted = {f"imagemill/{name}" for name in tracked("flows", "tasks", "models", "data")}
    wanted |= set(tracked("imagemill"))
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == wanted


@pytest.mark.parametrize("command", [["imagemill"], ["python", "-m", "imagemill"]], ids=["command", "module"])
def test_an_installed_package_builds_in_a_folder_of_the_users_own_modules(
    command: list[str], installed: Path, folder: Path, server: str
) -> None:
    program = [installed.with_name(command[0]), *command[1:]]
    assert "1 rows; 1 generated" in run(folder, *program, "build", "recipe.yaml")
    assert len(load_dataset("parquet", data_files=str(folder / "out/data/*.parquet"), split="train")) == 1


def test_an_editable_install_builds_in_a_folder_of_the_users_own_modules(folder: Path, server: str) -> None:
    editable = Path(sys.executable).with_name("imagemill")
    assert "1 rows; 1 generated" in run(folder, editable, "build", "recipe.yaml")


def test_a_shipped_recipe_is_found_by_its_name_and_its_samples_in_the_package(installed: Path, folder: Path) -> None:
    assert "36" in run(folder, installed, "plan", "demo")
    assert "4" in run(folder, installed, "plan", "image-edit")


def test_an_installed_package_makes_a_server_ready(installed: Path, folder: Path, server: str) -> None:
    said = run(folder, installed, "setup-prefect", PREFECT_API_URL=server)
    assert "build-dataset/nightly" in said
