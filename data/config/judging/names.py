"""Names of scorers: each is a column's, a file's and a formula's name too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from imagemill.data.config.fields import Text, blank_as_none
from imagemill.data.config.judging.formula import FUNCTIONS
from imagemill.data.messages import shown

RESERVED = frozenset([*FUNCTIONS, "and", "or", "not", "in", "like", "is", "null", "true", "false", "phash"]).union(
    # Reasons in the column rejected_by that are no scorer's.
    ["surplus", "duplicate"]
)
"""Words of the formulas' and the filters' grammars, and of the dataset's columns."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def _is_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{shown(name)} is not a name for a scorer: it must be of small letters, digits and _, begin with a letter "
            "and have at most 40 characters"
        )
    if name in RESERVED:
        raise ValueError(
            f"{shown(name)} is a word of formulas, filters or columns: give the scorer another name than "
            f"{', '.join(sorted(RESERVED))}"
        )
    return name


ScorerName = Annotated[str, AfterValidator(_is_name)]
"""The name under which a recipe has a scorer; its column is score_<name>."""

ScoreRef = Text
"""A place in the recipe that names a score; data.config.judging.checks sees that there is one."""

MaybeScoreRef = Annotated[ScoreRef | None, BeforeValidator(blank_as_none)]


def given_scores(scorers: Mapping[str, Any]) -> list[str]:
    """Names of the scores of a recipe's ``scorers`` as a file has them; a chat scorer gives one for each number."""
    names: list[str] = []
    for name, scorer in scorers.items():
        fields = scorer.get("fields") if isinstance(scorer, Mapping) and scorer.get("kind") == "chat" else None
        if isinstance(fields, Mapping):
            names += [f"{name}_{field}" for field, form in fields.items() if isinstance(form, str) and form != "text"]
        else:
            names.append(name)
    return names
