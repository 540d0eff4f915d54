"""Lookup of the recipes and samples that ship with the package, by name."""

from __future__ import annotations

from pathlib import Path, PurePath

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown_path

PACKAGE = Path(__file__).parents[1]
RECIPES, SAMPLES = PACKAGE / "recipes", PACKAGE / "samples"


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package, such as ``demo``."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find_recipe(path: Path) -> Path:
    """Resolve a path, or the name of a shipped recipe: ``my.yaml``, ``demo``, ``data/recipes/demo.yaml``.

    A file in the working directory takes precedence. Raises RecipeError if there is neither.
    """
    if _exists(path):
        return path
    name = path.name.removesuffix(".yaml")
    is_name = str(path) == name or path.parent == PurePath("data/recipes")
    if is_name and name in shipped_recipes():
        return RECIPES / f"{name}.yaml"
    raise RecipeError(
        f"there is no recipe {shown_path(path)}: give the path of a YAML file, or the name of one that comes with "
        f"imagemill ({', '.join(shipped_recipes())})."
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    # A name that no file system takes: too long, or with a NUL.
    except (OSError, ValueError):
        return False


def find_sample(path: str) -> str:
    """Resolve a prompts path; ``data/samples/...`` falls back to the packaged sample."""
    sample = PurePath(path)
    if sample.parts[:2] != ("data", "samples") or ".." in sample.parts or _exists(Path(path)):
        return path
    shipped = SAMPLES.joinpath(*sample.parts[2:])
    return str(shipped) if shipped.exists() else path
