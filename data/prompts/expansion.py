"""Expansion of a record into its variants, by the recipe's template and sweep.

Samples are stable: combinations are chosen by hash, so a larger sample contains the smaller one, and a value added to a
list changes only a few.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import count, product
from typing import Any, NamedTuple

import numpy as np

from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import row_models, swept_models
from imagemill.data.config.template import Template, placeholders
from imagemill.data.config.words.placeholders import fill_in
from imagemill.data.errors import BadRow
from imagemill.data.identity import digest
from imagemill.data.messages import shown
from imagemill.data.prompts.field_names import has_heading, list_fields
from imagemill.data.prompts.field_roles import RoleFinder

MAX_RANKED = 2**20
"""Up to this many combinations are all hashed, in a few seconds; of more, a sample is taken value by value."""

_CHUNK = 2048
"""Combinations that are sampled at a time."""


class Variant(NamedTuple):
    """A record with one combination of the template's texts and the sweep's settings."""

    fields: Mapping[str, Any]
    mark: str
    """Suffix that distinguishes it from the record's other variants; empty if it has none."""
    settings: Mapping[str, Any]
    """Swept settings, which the row gets whatever its fields are."""


class Variations:
    """Expands the records of one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self._columns = recipe.columns
        self._from_heading = has_heading(recipe.prompts)
        self._template = recipe.template
        self._names = placeholders(recipe.template) if recipe.template else set()
        self._sweep = recipe.sweep.settings if recipe.sweep else {}
        if "model" in self._sweep:
            self._sweep["model"] = list(swept_models(recipe).values())
        self._swept = _combinations(self._sweep)
        self._models = row_models(recipe)
        # Found as the row's other fields are: in any case, or by a path.
        self._roles = RoleFinder(recipe) if self._columns.model else None

    def of(self, fields: Mapping[str, Any]) -> Iterator[Variant]:
        """Yield the record's variants.

        Raises BadRow, before the first, if a placeholder has no value, or the record names a model that the recipe
        does not.
        """
        swept = self._swept_for(fields)
        if self._template is None and swept == [{}]:
            return iter([Variant(fields, "", {})])
        if self._template is None:
            texts: Iterator[tuple[Mapping[str, Any], str]] = iter([(fields, "")])
        else:
            self._check(self._template, fields)
            texts = self._fill(self._template, fields)
        return self._with_settings(texts, swept)

    def _swept_for(self, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The combinations of settings of a record: of those of all models, if it names one, only that model's."""
        value = self._roles.of(tuple(fields)).values(fields).get("model") if self._roles else None
        if value is None or (isinstance(value, str) and not value.strip()):
            return self._swept
        text = str(value).strip()
        name = self._models.get(text, text)
        if name not in self._models.values():
            raise BadRow(
                f"{self._columns.model} is {shown(value)}, a model that the recipe does not name: allowed are "
                f"{', '.join(self._models.values())}; add it to sweep.model"
            )
        return _combinations({**self._sweep, "model": [name]})

    def _with_settings(
        self, variants: Iterator[tuple[Mapping[str, Any], str]], swept: list[dict[str, Any]]
    ) -> Iterator[Variant]:
        # The row's own columns of swept settings are neither read nor carried, whatever their spelling.
        own = {name.lower() for setting in self._sweep if (name := getattr(self._columns, setting))}
        for fields, mark in variants:
            for settings in swept:
                unswept = {name: value for name, value in fields.items() if name.lower() not in own}
                # Not a model that the row names beside a sweep without models: the row keeps its id.
                marked = {name: value for name, value in settings.items() if name in self._sweep}
                marks = [*([mark] if mark else []), *([digest(marked)[:8]] if marked else [])]
                yield Variant(unswept, "-".join(marks), settings)

    def _check(self, template: Template, fields: Mapping[str, Any]) -> None:
        for name in sorted(self._names - set(template.values)):
            value = fields.get(name)
            if value is None or isinstance(value, list | dict) or not str(value).strip():
                present = list_fields(fields, self._from_heading)
                raise BadRow(
                    f"the template has {{{name}}}, for which the row has no text or number (it has {present}) and "
                    "recipe.template.values no list"
                )

    def _fill(self, template: Template, fields: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
        lists = {"": template.text, **template.values}
        # Seeded by the row's id or by the values it puts into the template: a changed label leaves the sample as it is.
        own_id = fields.get(self._columns.id) if self._columns.id else None
        source = own_id or {name: fields[name] for name in self._names - set(template.values)}
        seed = digest([template.sample_seed, source])
        for combination in _sample(lists, template.sample, seed):
            text, values = combination[""], {name: combination[name] for name in template.values}
            filled = {**fields, **values}
            variant = {**filled, self._columns.prompt: fill_in(text, filled)}
            if template.edit_prompt:
                variant[self._columns.edit_prompt] = fill_in(template.edit_prompt, filled)
            # A conversation would take precedence over the template's prompt.
            if self._columns.conversations:
                variant.pop(self._columns.conversations, None)
            # Without lists, the first text adds no suffix: a file's rows keep their ids, also when texts are added.
            yield variant, digest([text, values])[:8] if values or text != template.text[0] else ""


def _combinations(sweep: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of one value per setting; a single empty one if there are no settings."""
    return [dict(zip(sweep, values)) for values in product(*sweep.values())]


def _sample(lists: Mapping[str, Sequence[str]], size: int | None, seed: str) -> Iterator[dict[str, str]]:
    """Every combination of one value per list, in order; or a sample of ``size``, decided by ``seed``."""
    total = math.prod(map(len, lists.values()))
    combinations = (dict(zip(lists, values)) for values in product(*lists.values()))
    if size is None or size >= total:
        return combinations
    if total <= MAX_RANKED or size > total // 2:
        return iter(nsmallest(size, combinations, key=lambda values: _hash([seed, sorted(values.items())])))
    return _sample_by_value(lists, size, seed)


def _sample_by_value(lists: Mapping[str, Sequence[str]], size: int, seed: str) -> Iterator[dict[str, str]]:
    """Sample ``size`` distinct combinations without enumerating all of them.

    Each trial picks from every list the value with the highest hash, mixed with the trial's number: an added value
    wins its share of the trials and leaves the rest unchanged.
    """
    hashes = [np.array([_hash([seed, name, value]) for value in values], np.uint64) for name, values in lists.items()]
    seen: set[tuple[str, ...]] = set()
    for first in count(0, _CHUNK):
        trials = _mix(np.arange(first, first + _CHUNK, dtype=np.uint64))
        winners = [_mix(trials[:, None] ^ value_hashes[None, :]).argmax(axis=1) for value_hashes in hashes]
        for indices in zip(*winners):
            values = tuple(choices[index] for choices, index in zip(lists.values(), indices))
            if values in seen:
                continue
            seen.add(values)
            yield dict(zip(lists, values))
            if len(seen) == size:
                return


def _hash(value: Any) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _mix(values: np.ndarray) -> np.ndarray:
    """Finalizer of SplitMix64: every input bit affects every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
