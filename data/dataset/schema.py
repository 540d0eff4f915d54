"""Arrow schema of the dataset: the columns of a recipe, and the columns carried over from the prompts file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pyarrow as pa

from imagemill.data.config.chain import edits_of, generate_of, has_masks, has_references, has_turns
from imagemill.data.config.columns import GUIDES
from imagemill.data.config.guides import guide_columns, guides_of
from imagemill.data.config.judging.judged import given_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.carried.arrow_kinds import IMAGE, NOTES, WORDS, ColumnKind, type_of
from imagemill.data.dataset.carried.begun import Begun
from imagemill.data.dataset.carried.features import feature
from imagemill.data.dataset.carried.names import carried_name, column_names
from imagemill.data.dataset.files.outcomes import OF_REJECTED, TYPES, FileOutcomes, OutcomeColumn, renamed_columns
from imagemill.data.dataset.measure_columns import MeasureColumn
from imagemill.data.identity import digest
from imagemill.data.images.codec import ENCODING_VERSION, LOSSLESS, Encoding

IMAGES = pa.list_(IMAGE)


@dataclass(frozen=True, slots=True)
class DatasetSchema:
    """The columns of one dataset."""

    chained: bool
    """True if an image is generated and then edited."""
    edits: bool
    encoding: Encoding
    carried: Mapping[str, ColumnKind]
    has_turns: bool = False
    """True if an image may be edited more than once: then each turn has a row, numbered by turn_index."""
    has_masks: bool = False
    """True if edits are inpaintings, whose masks are stored beside their images."""
    references: bool = False
    """True if a row may have reference images of its edit."""
    guides: tuple[str, ...] = ()
    """Columns of control images (data.config.guides)."""
    measures: tuple[MeasureColumn, ...] = ()
    """Measures of the generated images."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name in the prompts file -> name of the carried column; where there is none, ``carried_name`` gives it."""
    other: str | None = None
    """Column of carried values that do not fit into their columns."""
    wide_seeds: bool = False
    """True if seeds have 64 bits; a dataset that was begun with int64 keeps that."""
    is_given: bool = False
    """True if the images are those that the rows give, as they are: they have no seed, model or settings."""
    outcomes: tuple[OutcomeColumn, ...] = ()
    """Columns whose values a changed rule rewrites without another image: in no row key, and not in ``digest``."""

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        carried: Mapping[str, ColumnKind],
        measures: Sequence[MeasureColumn] = (),
        begun: Begun | None = None,
        wide_seeds: bool = False,
        outcomes: Sequence[OutcomeColumn] = (),
        encoding_version: int = ENCODING_VERSION,
    ) -> DatasetSchema:
        """The schema for a recipe. ``carried``: the prompts file's other columns, by their names there."""
        begun = begun or Begun()
        own = own_columns(measures).union([begun.other] if begun.other else [])
        names = column_names(carried, own, begun.columns)
        return cls(
            chained=generate_of(recipe) is not None and bool(edits_of(recipe)),
            edits=bool(edits_of(recipe)),
            encoding=Encoding(
                recipe.image_format, None if recipe.image_format == LOSSLESS else recipe.quality, encoding_version
            ),
            carried={names[name]: kind for name, kind in carried.items()},
            has_turns=has_turns(recipe),
            has_masks=has_masks(recipe),
            references=has_references(recipe),
            guides=guides_of(recipe),
            measures=tuple(measures),
            names=names,
            other=begun.other,
            wide_seeds=wide_seeds,
            is_given=given_of(recipe) is not None,
            outcomes=tuple(outcomes),
        )

    def rejected(self) -> DatasetSchema:
        """The schema of the rows in rejected/: any column may be null there but the row key."""
        return replace(self, outcomes=(*self.outcomes, *OF_REJECTED))

    def digest(self) -> str:
        """Equal for schemas whose rows have the same columns. A field of a later version counts only if it is set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("measures", "names", "other", "outcomes"):
            del values[name]
        # A text column that holds JSON too has no other values for it.
        carried = {name: "str" if kind == "mixed" else kind for name, kind in self.carried.items()}
        values |= {"encoding": self.encoding.to_json(), "carried": carried}
        for later in ("has_turns", "has_masks", "references", "guides", "wide_seeds", "is_given"):
            if not values[later]:
                del values[later]
        for measure in self.measures:
            values |= measure.digest
        return digest(values)

    def settings_of(self, step: str) -> dict[str, Any]:
        """Measure -> its setting for the images of a step; only those that measure them."""
        return {measure.name: measure.settings[step] for measure in self.measures if step in measure.settings}

    @property
    def step_measures(self) -> tuple[MeasureColumn, ...]:
        """Measures with a column for each step."""
        return tuple(measure for measure in self.measures if measure.is_column and not measure.combine)

    @property
    def row_measures(self) -> tuple[MeasureColumn, ...]:
        """Measures with one column, which combines the values of a row's images."""
        return tuple(measure for measure in self.measures if measure.is_column and measure.combine)

    @property
    def own_columns(self) -> frozenset[str]:
        """Names that a carried column of this dataset may not have."""
        return own_columns(self.measures).union([self.other] if self.other else [])

    def column_of(self, name: str) -> str:
        """The name of the column that carries the prompts file's column ``name``."""
        return self.names.get(name) or carried_name(name, self.own_columns)

    @property
    def renamed(self) -> Mapping[str, str]:
        """Carried column -> name under which the files have it, for those that an outcome has the name of."""
        return renamed_columns([*self.carried, *([self.other] if self.other else [])], self.outcomes)

    @property
    def seed_type(self) -> pa.DataType:
        """The type of the columns of seeds."""
        return pa.uint64() if self.wide_seeds else pa.int64()

    @property
    def max_seed(self) -> int:
        """The largest seed that these columns can store."""
        return 2**64 - 1 if self.wide_seeds else 2**63 - 1

    @property
    def image_columns(self) -> tuple[str, ...]:
        """The columns of images, in the order in which the images are made."""
        return ("input_image", "edited_image") if self.edits else ("image",)

    def arrow(self) -> pa.Schema:
        """The Arrow schema, with the metadata by which ``datasets`` distinguishes images from dicts."""
        columns = [pa.field(name, IMAGE) for name in self.image_columns]
        if self.edits:
            columns.insert(1, pa.field("edit_prompt", pa.string()))
        if self.has_masks:
            columns += [pa.field("mask_image", IMAGE), pa.field("mask_sha256", pa.string())]
        for image, sha256 in guide_columns(self.guides):
            columns += [pa.field(image, IMAGE), pa.field(sha256, pa.string())]
        if self.references:
            columns.append(pa.field("input_images", IMAGES))
        columns += [pa.field(measure.name, WORDS[measure.kind]) for measure in self.row_measures]
        own = _columns(self.chained, self.edits, self.has_turns, self.step_measures, self.seed_type, self.is_given)
        columns += [pa.field(name, kind) for name, kind in own]
        columns += [pa.field(outcome.name, TYPES[outcome.kind]) for outcome in self.outcomes]
        renamed = self.renamed
        columns += [_carried_field(renamed.get(name, name), kind) for name, kind in self.carried.items()]
        if self.other:
            columns.append(_carried_field(renamed.get(self.other, self.other), "json"))
        features = {column.name: feature(column.type) for column in columns}
        metadata = {
            b"huggingface": json.dumps({"info": {"features": features}}).encode(),
            b"imagemill": json.dumps(self.encoding.to_json()).encode(),
            **FileOutcomes(tuple(outcome.name for outcome in self.outcomes), renamed).to_metadata(),
        }
        return pa.schema(columns, metadata=metadata)


def _columns(
    chained: bool,
    edits: bool,
    has_turns: bool,
    measures: Sequence[MeasureColumn] = (),
    seed_type: pa.DataType | None = None,
    is_given: bool = False,
) -> Iterator[tuple[str, pa.DataType]]:
    yield "prompt", pa.string()
    yield "id", pa.string()
    if has_turns:
        yield "turn_index", pa.int32()
    yield "variant", pa.int32()
    if not is_given:
        yield "negative_prompt", pa.string()
    for prefix in () if is_given else ("", "edit_") if chained else ("",):
        yield f"{prefix}seed", seed_type or pa.int64()
        yield f"{prefix}model", pa.string()
        yield f"{prefix}model_revision", pa.string()
        yield f"{prefix}steps", pa.int32()
        yield f"{prefix}guidance_scale", pa.float64()
        yield f"{prefix}batch_size", pa.int32()
        for measure in measures:
            yield f"{prefix}{measure.name}", WORDS[measure.kind]
    yield "width", pa.int32()
    yield "height", pa.int32()
    yield "sha256", pa.string()
    yield "image_key", pa.string()
    if edits:
        yield "input_sha256", pa.string()
        yield "input_key", pa.string()
    yield "row_key", pa.string()


_IMAGE_SIDE = (
    "image",
    "input_image",
    "input_images",
    "edit_prompt",
    "edited_image",
    "mask_image",
    "mask_sha256",
)

_GUIDE_SIDE = (name for pair in guide_columns(tuple(GUIDES)) for name in pair)

_OWN = (name for name, _ in _columns(True, True, has_turns=True))

# Also in a dataset without these measures: version 0.1.0 reserved them in every one.
_RESERVED = ("unsafe", "prompt_truncated", "edit_prompt_truncated")

OWN_COLUMNS = frozenset([*_IMAGE_SIDE, *_GUIDE_SIDE, *_OWN, *_RESERVED])
"""Names that no dataset has for a carried column; such a column is carried as ``source_<name>``."""


def own_columns(measures: Sequence[MeasureColumn]) -> frozenset[str]:
    """Names that a carried column may not have in a dataset with these measures."""
    # A measure of a later version must not rename a carried column of a dataset without it.
    names = [measure.name for measure in measures if measure.is_column]
    return OWN_COLUMNS.union(names, [f"edit_{name}" for name in names])


def _carried_field(name: str, kind: ColumnKind) -> pa.Field:
    note = NOTES.get(kind)
    return pa.field(name, type_of(kind), metadata={"imagemill": note} if note else None)
