"""Lookup of the recipes and samples that ship with the package, by name."""

from __future__ import annotations

from pathlib import Path, PurePath

from imagemill.data.errors import RecipeError

PACKAGE = Path(__file__).parents[1]
RECIPES, SAMPLES = PACKAGE / "recipes", PACKAGE / "samples"


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package, such as ``demo``."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find_recipe(path: Path) -> Path:
    """Resolve a path, or the name of a shipped recipe: ``my.yaml``, ``demo``, ``data/recipes/demo.yaml``.

    A file in the working directory takes precedence. Raises RecipeError if there is neither.
    """
    if path.exists():
        return path
    name = path.name.removesuffix(".yaml")
    is_name = str(path) == name or path.parent == PurePath("data/recipes")
    if is_name and name in shipped_recipes():
        return RECIPES / f"{name}.yaml"
    raise RecipeError(
        f"there is no recipe {str(path)[:80]!r}: give the path of a YAML file, or the name of one that comes with "
        f"imagemill ({', '.join(shipped_recipes())})."
    )


def find_sample(path: str) -> str:
    """Resolve a prompts path; ``data/samples/...`` falls back to the packaged sample."""
    sample = PurePath(path)
    if sample.parts[:2] != ("data", "samples") or ".." in sample.parts or Path(path).exists():
        return path
    shipped = SAMPLES.joinpath(*sample.parts[2:])
    return str(shipped) if shipped.exists() else path
