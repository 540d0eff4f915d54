"""Assignment of rows to splits: a hash of what a group of rows has in common decides.

It stays as it is when the dataset grows, and has nothing of the dataset's name in it, so that two datasets of the same
prompts never have one prompt in train and in test.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from imagemill.data.config.judging.splits import REST, Splits
from imagemill.data.identity import digest


def split_of(splits: Splits, group: str) -> str:
    """The split of all rows of a group (``group_of``). Another seed gives other splits."""
    left = 1.0
    # One hash a split, so that another fraction moves hardly any row but those that must.
    for name, fraction in splits.fractions.items():
        if _uniform([splits.seed, name, group]) * left < fraction:
            return name
        left -= fraction
    return REST


def _uniform(value: list[Any]) -> float:
    """A number from 0 to below 1 that is random, and always the same for this value."""
    return int(digest(value)[:13], 16) / 16**13


def group_of(
    by: str,
    prompt: str | None,
    given_sha256: str | None = None,
    source_key: str | None = None,
    carried: Mapping[str, Any] | None = None,
) -> str:
    """Value that a row shares with those that must be in its split.

    ``by``: ``prompt`` (without one, the input image), ``image`` (the input image), or a column of the prompts file (a
    row without a value in it: as by prompt). ``given_sha256``: of the given input image; ``source_key``: image key of
    the first generated image, for a row without a given one. ``carried``: the row's columns by their names in the file.
    """
    image = f"sha256 {given_sha256}" if given_sha256 else f"key {source_key}"
    if by == "image":
        return image
    value = (carried or {}).get(by)
    if by != "prompt" and value is not None:
        return group_of_prompt(value) if isinstance(value, str) else f"value {digest(value)}"
    return group_of_prompt(prompt) if prompt and prompt.strip() else image


def group_of_prompt(text: str) -> str:
    """The group of a text: equal for texts that differ only in blanks around them and in how accents are written."""
    return f"text {unicodedata.normalize('NFC', text).strip()}"
