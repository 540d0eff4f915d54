"""From one record to the records that a recipe's template and sweep make of it.

Which combinations a sample takes is decided by each combination's own hash: a larger sample keeps those of a smaller
one, and a longer list changes a few.
"""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import count, product
from typing import Any

import numpy as np

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.template import Template, placeholders
from imagemill.data.errors import BadRow
from imagemill.data.identity import digest

RANKED = 2**20
"""So many combinations are each given a hash, a few seconds' work; of more a sample is generated value by value."""

_DRAWS = 2048
"""Combinations that are generated at a time."""

Variant = tuple[Mapping[str, Any], str]
"""A record's fields, and what marks them beside the record's own id: empty where there is one variant only."""


class Variations:
    """The variants of a recipe's records."""

    def __init__(self, recipe: Recipe) -> None:
        self._columns = recipe.columns
        self._template = recipe.template
        self._names = placeholders(recipe.template) if recipe.template else set()
        self._sweep = recipe.sweep.settings if recipe.sweep else {}
        self._swept = [dict(zip(self._sweep, values)) for values in product(*self._sweep.values())]

    def of(self, fields: Mapping[str, Any]) -> Iterator[Variant]:
        """Yield the record's variants. Raises BadRow before the first where a name of the template has no value."""
        if self._template is None and not self._sweep:
            return iter([(fields, "")])
        if self._template is None:
            filled: Iterator[Variant] = iter([(fields, "")])
        else:
            self._check(self._template, fields)
            filled = self._fill(self._template, fields)
        return self._with_settings(filled)

    def _with_settings(self, filled: Iterator[Variant]) -> Iterator[Variant]:
        for fields, mark in filled:
            for settings in self._swept:
                # A row's own spelling of a swept column would be read beside it.
                kept = {name: value for name, value in fields.items() if name.lower() not in self._sweep}
                marks = [*([mark] if mark else []), *([digest(settings)[:8]] if settings else [])]
                yield {**kept, **settings}, "-".join(marks)

    def _check(self, template: Template, fields: Mapping[str, Any]) -> None:
        for name in sorted(self._names - set(template.values)):
            value = fields.get(name)
            if value is None or isinstance(value, list | dict) or not str(value).strip():
                has = ", ".join(map(repr, list(fields)[:8])) or "nothing"
                raise BadRow(
                    f"the template has {{{name}}}, for which the row has no text or number (it has {has}) and "
                    "recipe.template.values no list"
                )

    def _fill(self, template: Template, fields: Mapping[str, Any]) -> Iterator[Variant]:
        lists = {"": template.text, **template.values}
        # By the row's id, else by what it puts into the template: a label that changes leaves the sample as it is.
        own = fields.get(self._columns.id) or {name: fields[name] for name in self._names - set(template.values)}
        seed = digest([template.sample_seed, own])
        for chosen in _sample(lists, template.sample, seed):
            text, values = chosen[""], {name: chosen[name] for name in template.values}
            known = {**fields, **values}
            made = {**known, self._columns.prompt: _fill_in(text, known)}
            if template.edit_prompt:
                made[self._columns.edit_prompt] = _fill_in(template.edit_prompt, known)
            # The prompt is the template's; a conversation would go before it.
            made.pop(self._columns.conversations, None)
            # A file's rows keep their ids under a template that only words them, also when more texts come.
            yield made, digest([text, values])[:8] if values or text != template.text[0] else ""


def _fill_in(text: str, values: Mapping[str, Any]) -> str:
    # Not str.format, which looks into values: {name.part} is a column's name here.
    return "".join(
        literal + ("" if name is None else str(values[name])) for literal, name, _, _ in string.Formatter().parse(text)
    )


def _sample(lists: Mapping[str, Sequence[str]], size: int | None, seed: str) -> Iterator[dict[str, str]]:
    """Every combination of one value of each list, in order; or ``size`` of them, decided by ``seed``."""
    total = math.prod(map(len, lists.values()))
    every = (dict(zip(lists, chosen)) for chosen in product(*lists.values()))
    if size is None or size >= total:
        return every
    if total <= RANKED or size > total // 2:
        return iter(nsmallest(size, every, key=lambda chosen: _hash([seed, sorted(chosen.items())])))
    return _generated(lists, size, seed)


def _generated(lists: Mapping[str, Sequence[str]], size: int, seed: str) -> Iterator[dict[str, str]]:
    """``size`` different combinations out of very many.

    In each draw the value of a list is the one whose hash with the draw's is highest: a value that is added takes its
    share of the generates, and the others stay.
    """
    hashes = [np.array([_hash([seed, name, one]) for one in some], np.uint64) for name, some in lists.items()]
    seen: set[tuple[str, ...]] = set()
    for first in count(0, _DRAWS):
        draws = _mix(np.arange(first, first + _DRAWS, dtype=np.uint64))
        places = [_mix(draws[:, None] ^ some[None, :]).argmax(axis=1) for some in hashes]
        for chosen in zip(*places):
            values = tuple(some[place] for some, place in zip(lists.values(), chosen))
            if values in seen:
                continue
            seen.add(values)
            yield dict(zip(lists, values))
            if len(seen) == size:
                return


def _hash(value: Any) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64: every bit of a number decides every bit of the result."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
