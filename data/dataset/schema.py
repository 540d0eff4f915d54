"""The dataset's columns: which there are for a recipe, and how those of the prompts file are carried along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

from imagemill.data.config.chain import checked_steps, edits_of, generate_of, has_masks, has_references, has_turns
from imagemill.data.config.guides import guide_columns, guides_of
from imagemill.data.config.recipe import GUIDES, Recipe
from imagemill.data.identity import digest
from imagemill.data.images.codec import LOSSLESS, Encoding

# Nullable, in this order, not large_binary: anything else opens as a plain dict instead of an image.
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

IMAGES = pa.list_(IMAGE)

Kind = Literal["bool", "int", "float", "str", "json"]

_ARROW = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "str": pa.string(), "json": pa.string()}


@dataclass(frozen=True, slots=True)
class DatasetSchema:
    """The columns of one dataset."""

    chained: bool
    """Whether an image is generated and then edited."""
    edits: bool
    encoding: Encoding
    carried: Mapping[str, Kind]
    has_turns: bool = False
    """Whether an image may be edited more than once: a row a turn, numbered by turn_index."""
    has_masks: bool = False
    """Whether edits paint where a mask is white, which is kept beside their images."""
    references: bool = False
    """Whether a row may have further images that its edit was given."""
    truncation: bool = False
    """Whether columns tell which prompts their model read only in part."""
    safety: Mapping[str, str] = field(default_factory=dict)
    """Step -> what is done with what its model's safety checker finds; without those that ask none.

    Part of the digest also where it adds no column: rows that were kept unchecked are looked at once more.
    """
    guides: tuple[str, ...] = ()
    """Images that steered a row's generation, each a column (data.config.guides)."""

    @classmethod
    def of(cls, recipe: Recipe, carried: Mapping[str, Kind]) -> DatasetSchema:
        """The columns for a recipe whose prompts file has these other columns."""
        return cls(
            chained=generate_of(recipe) is not None and bool(edits_of(recipe)),
            edits=bool(edits_of(recipe)),
            encoding=Encoding(recipe.image_format, None if recipe.image_format == LOSSLESS else recipe.quality),
            carried=dict(carried),
            has_turns=has_turns(recipe),
            has_masks=has_masks(recipe),
            references=has_references(recipe),
            truncation=bool(recipe.prompt_truncated),
            safety=checked_steps(recipe),
            guides=guides_of(recipe),
        )

    def digest(self) -> str:
        """Equal for two layouts whose rows look alike. A column of a later version counts where it is there."""
        fields = asdict(self)
        for later in ("has_turns", "has_masks", "references", "truncation", "safety", "guides"):
            if not fields[later]:
                del fields[later]
        return digest(fields)

    @property
    def image_columns(self) -> tuple[str, ...]:
        """The columns that hold images, in the order in which the images are made."""
        return ("input_image", "edited_image") if self.edits else ("image",)

    @property
    def flags_unsafe(self) -> bool:
        """Whether a column says in which rows a model's safety checker has found something."""
        return "flag" in self.safety.values()

    def arrow(self) -> pa.Schema:
        """The Arrow schema, with the metadata by which ``datasets`` knows images from dicts."""
        fields = [pa.field(name, IMAGE) for name in self.image_columns]
        if self.edits:
            fields.insert(1, pa.field("edit_prompt", pa.string()))
        if self.has_masks:
            fields += [pa.field("mask_image", IMAGE), pa.field("mask_sha256", pa.string())]
        for image, sha256 in guide_columns(self.guides):
            fields += [pa.field(image, IMAGE), pa.field(sha256, pa.string())]
        if self.references:
            fields.append(pa.field("input_images", IMAGES))
        if self.flags_unsafe:
            fields.append(pa.field("unsafe", pa.bool_()))
        own = _columns(self.chained, self.edits, self.has_turns, self.truncation)
        fields += [pa.field(name, kind) for name, kind in own]
        fields += [pa.field(name, _ARROW[kind]) for name, kind in self.carried.items()]
        features = {field.name: _feature(field) for field in fields}
        metadata = {
            "huggingface": json.dumps({"info": {"features": features}}),
            "imagemill": json.dumps(asdict(self.encoding)),
        }
        return pa.schema(fields, metadata=metadata)


def _columns(chained: bool, edits: bool, has_turns: bool, truncation: bool) -> Iterator[tuple[str, pa.DataType]]:
    yield "prompt", pa.string()
    yield "id", pa.string()
    if has_turns:
        yield "turn_index", pa.int32()
    yield "variant", pa.int32()
    yield "negative_prompt", pa.string()
    for prefix in ("", "edit_") if chained else ("",):
        yield f"{prefix}seed", pa.int64()
        yield f"{prefix}model", pa.string()
        yield f"{prefix}model_revision", pa.string()
        yield f"{prefix}steps", pa.int32()
        yield f"{prefix}guidance_scale", pa.float64()
        yield f"{prefix}batch_size", pa.int32()
        if truncation:
            yield f"{prefix}prompt_truncated", pa.bool_()
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
    "unsafe",
)

_GUIDE_SIDE = (name for pair in guide_columns(tuple(GUIDES)) for name in pair)

_OWN = (name for name, _ in _columns(True, True, has_turns=True, truncation=True))

OWN_COLUMNS = frozenset([*_IMAGE_SIDE, *_GUIDE_SIDE, *_OWN])
"""Names that a carried column may not have; one that does is carried as ``source_<name>``."""


def carried_name(name: str) -> str:
    """The dataset's name for a column of the prompts file; no two columns get the same one."""
    bare = name
    while bare.startswith("source_"):
        bare = bare.removeprefix("source_")
    # What is called source_image already makes room for an image that will be.
    return f"source_{name}" if bare in OWN_COLUMNS else name


def carried_kind(value: Any) -> Kind:
    """How a carried value is stored; lists and dicts as JSON text."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int" if -(2**63) <= value < 2**63 else "json"
        case float():
            return "float"
        case str():
            return "str"
        case _:
            return "json"


def merge_kinds(one: Kind, other: Kind) -> Kind:
    """The kind that holds both: numbers widen, anything else becomes JSON text."""
    if one == other:
        return one
    return "float" if {one, other} == {"int", "float"} else "json"


def carried_value(value: Any, kind: Kind) -> Any:
    """The value as its column stores it."""
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value, ensure_ascii=False, default=str)
    return float(value) if kind == "float" else value


def _feature(field: pa.Field) -> dict[str, Any]:
    if field.type == IMAGES:
        return {"_type": "List", "feature": {"_type": "Image"}}
    if field.type == IMAGE:
        return {"_type": "Image"}
    return {"dtype": str(field.type).replace("double", "float64"), "_type": "Value"}
