"""Packages that single parts of a model need, and that imagemill does not install."""

from __future__ import annotations

from collections.abc import Container, Mapping
from importlib import metadata

from imagemill.data.errors import RecipeError


def check_packages(subject: str, packages: Mapping[str, str], parts: Container[str] | None) -> None:
    """Raises RecipeError where the package that loads a part is not installed.

    ``subject``: the beginning of the message, which names the model. ``packages``: part -> package. ``parts``: those
    that the model has; None where its files are not on this machine, and it is taken to have them all.
    """
    for part, package in packages.items():
        if (parts is None or part in parts) and not is_installed(package):
            raise RecipeError(f"{subject}: its {part} needs {package}, which is not installed: pip install {package}.")


def is_installed(package: str) -> bool:
    """True if this environment has the package, by the name that pip knows."""
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
