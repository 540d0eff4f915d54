"""Recipes and samples that come with the package: found by their names wherever imagemill is installed."""

from __future__ import annotations

from pathlib import Path, PurePath

from imagemill.data.errors import RecipeError

PACKAGE = Path(__file__).parents[1]
RECIPES, SAMPLES = PACKAGE / "recipes", PACKAGE / "samples"


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package, such as ``demo``."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find_recipe(given: Path) -> Path:
    """The recipe file that a path or a shipped recipe's name means: ``my.yaml``, ``demo``, ``data/recipes/demo.yaml``.

    A file in the working directory goes first. Raises RecipeError where there is neither.
    """
    if given.exists():
        return given
    name = given.name.removesuffix(".yaml")
    is_name = str(given) == name or given.parent == PurePath("data/recipes")
    if is_name and name in shipped_recipes():
        return RECIPES / f"{name}.yaml"
    raise RecipeError(
        f"there is no recipe {str(given)[:80]!r}: give the path of a YAML file, or the name of one that comes with "
        f"imagemill ({', '.join(shipped_recipes())})."
    )


def find_sample(path: str) -> str:
    """A prompts path; ``data/samples/...`` that is not in the working directory is the package's."""
    sample = PurePath(path)
    if sample.parts[:2] != ("data", "samples") or ".." in sample.parts or Path(path).exists():
        return path
    shipped = SAMPLES.joinpath(*sample.parts[2:])
    return str(shipped) if shipped.exists() else path
