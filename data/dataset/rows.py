"""A shard's images and rows: what the dataset has already comes back to the staging, what is generated becomes rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill.data.dataset.measures import MeasureColumn
from imagemill.data.dataset.schema import DatasetSchema, carried_name, carried_value
from imagemill.data.errors import BuildFailed
from imagemill.data.images.codec import LOSSLESS, Encoding
from imagemill.data.images.sources import read_given, read_guides, read_mask, read_references
from imagemill.data.records import Drawing, ModelFacts, RowPlan, Staged
from imagemill.data.staging.store import Staging


def encodings_of(items: Iterable[RowPlan], schema: DatasetSchema) -> dict[str, tuple[Encoding, ...]]:
    """Image key -> how that image must be staged: in the dataset's encoding, and losslessly to draw from."""
    # PNG, not JPEG: the editor must see exactly the generator's pixels.
    source = (schema.encoding,) if schema.encoding.lossless else (schema.encoding, Encoding(LOSSLESS))
    needed: dict[str, tuple[Encoding, ...]] = {}
    for item in items:
        for drawing in item.drawings[:-1]:
            needed[drawing.key] = source
        needed.setdefault(item.final.key, (schema.encoding,))
    return needed


def dataset_row(
    staging: Staging, schema: DatasetSchema, item: RowPlan, models: Mapping[str, ModelFacts]
) -> dict[str, Any]:
    """The dataset's row for an item whose images are all staged. ``models``: name of a step -> its model.

    Raises BadRow where a given image has changed since it was loaded, BuildFailed where a staged one is gone.
    """
    row: dict[str, Any] = {"id": item.id, "variant": item.variant, "row_key": item.row_key, "prompt": item.prompt}
    if item.turn is not None:
        row["turn_index"] = item.turn
    final, content, staged = item.final, *_take(staging, item.final, schema.encoding)
    if schema.edits:
        row |= {"edit_prompt": final.prompt, **_input(staging, schema, item)}
    if schema.references:
        row["input_images"] = [
            {"bytes": content, "path": Path(path).name}
            for content, (path, _) in zip(read_references(final), final.references, strict=True)
        ]
    row[schema.image_columns[-1]] = {"bytes": content, "path": _file_name(final, schema)}
    row |= {"sha256": staged.sha256, "image_key": final.key, "width": staged.width, "height": staged.height}
    first, guides = item.drawings[0], read_guides(item.drawings[0])
    for role, path, sha256 in first.guides:
        row |= {role: {"bytes": guides[role], "path": Path(path).name}, f"{role}_sha256": sha256}
    if schema.chained:
        generated = _found(staging.find(first.key, schema.encoding.name), first)
        row |= _provenance("", first, generated, models["generate"], schema.step_measures)
    row |= _provenance("edit_" if schema.chained else "", final, staged, models[item.steps[-1]], schema.step_measures)
    if final.mask_path is not None:
        mask = {"bytes": read_mask(final), "path": Path(final.mask_path).name}
        row |= {"mask_image": mask, "mask_sha256": final.mask_hash}
    if schema.row_measures:
        shown = [_found(staging.find(drawing.key, schema.encoding.name), drawing) for drawing in item.drawings[-2:]]
        for measure in schema.row_measures:
            row[measure.name] = measure.of_row([image.measures.get(measure.name) for image in shown])
    own = schema.own_columns
    for name, value in item.carried.items():
        column = carried_name(name, own)
        if column in schema.carried:
            row[column] = carried_value(value, schema.carried[column])
    return row


def _input(staging: Staging, schema: DatasetSchema, item: RowPlan) -> dict[str, Any]:
    """The columns of the image that the row's edit starts from."""
    if len(item.drawings) == 1:
        image = {
            "bytes": read_given(item.final),
            "path": Path(item.final.source_path).name,
        }
        return {"input_image": image, "input_sha256": item.final.source_hash}
    source = item.drawings[-2]
    content, staged = _take(staging, source, schema.encoding)
    image = {"bytes": content, "path": _file_name(source, schema)}
    return {"input_image": image, "input_sha256": staged.sha256, "input_key": source.key}


def _file_name(drawing: Drawing, schema: DatasetSchema) -> str:
    return f"{drawing.key}.{schema.encoding.image_format}"


def _provenance(
    prefix: str, drawing: Drawing, staged: Staged, model: ModelFacts, measures: Sequence[MeasureColumn]
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "seed": drawing.seed,
        "model": model.name,
        "model_revision": model.revision,
        "steps": drawing.steps,
        "guidance_scale": drawing.guidance_scale,
        "batch_size": staged.batch_size,
    }
    fields |= {measure.name: staged.measures.get(measure.name) for measure in measures}
    named = {f"{prefix}{name}": value for name, value in fields.items()}
    return named if prefix else {**named, "negative_prompt": drawing.negative_prompt}


def _take(staging: Staging, drawing: Drawing, encoding: Encoding) -> tuple[bytes, Staged]:
    return _found(staging.read(drawing.key, encoding.name), drawing)


def _found(found: Any, drawing: Drawing) -> Any:
    if found is None:
        raise BuildFailed(f"the staged image {drawing.key} is gone or damaged; run the build again to draw it.")
    return found


def unique_drawings(items: Iterable[RowPlan]) -> dict[str, Drawing]:
    """Image key -> drawing, each once, over all steps of the items."""
    return {drawing.key: drawing for item in items for drawing in item.drawings}
