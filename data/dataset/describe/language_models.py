"""Section of a card on the language models that wrote columns: names, versions, licences, and images they received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.config.recipe import Recipe
from imagemill.data.messages import code_span

IMAGES_SENT = "images_sent"
"""Name under which a dataset pins recipients of its images: origin -> images of the build that sent the first."""


def language_models(recipe: Recipe, pinned: Mapping[str, Any]) -> str:
    """A line for each step of ``llm``, and for each origin beyond the builder's machine that received images.

    ``pinned``: the dataset's decisions; what is not a build's is left out.
    """
    lines = [f"- llm.{number}: {_step(step)}" for number, step in enumerate(recipe.llm)]
    sent = pinned.get(IMAGES_SENT)
    for origin, count in sent.items() if isinstance(sent, dict) else ():
        if isinstance(origin, str) and type(count) is int:
            lines.append(f"- images were sent to {code_span(origin)}, where a language model saw them, reduced in size")
    return "".join(f"\n{line}" for line in lines)


def _step(step: Any) -> str:
    version = f"revision {code_span(step.revision)}" if step.revision else "with weights of an unknown version"
    columns = ", ".join(code_span(name) for name in step.fields)
    # No API reports a licence, and a model's name alone does not say whose it is.
    return f"{code_span(step.model)}, served by a chat API {version}, licence: unknown; it wrote {columns}"
