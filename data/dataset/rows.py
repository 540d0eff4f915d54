"""Dataset rows of planned rows whose images are staged, and the encodings in which their images must be staged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill.data.dataset.carried.arrow_kinds import type_of
from imagemill.data.dataset.carried.values import Misfit, carried_value
from imagemill.data.dataset.measure_columns import MeasureColumn
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BadRow, BuildFailed
from imagemill.data.images.codec import LOSSLESS, Encoding
from imagemill.data.images.sources import read_given, read_guides, read_mask, read_references
from imagemill.data.messages import shown
from imagemill.data.plain_values import json_text
from imagemill.data.records import Drawing, ModelFacts, RowPlan, Staged
from imagemill.data.staging.store import Staging


def encodings_of(row_plans: Iterable[RowPlan], schema: DatasetSchema) -> dict[str, tuple[Encoding, ...]]:
    """Image key -> encodings to stage the image in: the dataset's, and a lossless one for the source of an edit."""
    # PNG, not JPEG: the editor must see exactly the generator's pixels.
    source = (schema.encoding,) if schema.encoding.lossless else (schema.encoding, Encoding(LOSSLESS))
    needed: dict[str, tuple[Encoding, ...]] = {}
    for row_plan in row_plans:
        for drawing in row_plan.drawings[:-1]:
            needed[drawing.key] = source
        needed.setdefault(row_plan.final.key, (schema.encoding,))
    return needed


def dataset_row(
    staging: Staging, schema: DatasetSchema, row_plan: RowPlan, models: Mapping[str, ModelFacts]
) -> dict[str, Any]:
    """The dataset's row for a planned row whose images are all staged. ``models``: name of a step -> its model.

    Raises BadRow if an input image has changed since it was loaded, BuildFailed if a staged image is missing.
    """
    row: dict[str, Any] = {"id": row_plan.id, "variant": row_plan.variant, "row_key": row_plan.row_key}
    row["prompt"] = row_plan.prompt
    if row_plan.turn is not None:
        row["turn_index"] = row_plan.turn
    final, content, staged = row_plan.final, *_read(staging, row_plan.final, schema.encoding)
    if schema.edits:
        row |= {"edit_prompt": final.prompt, **_input(staging, schema, row_plan)}
    if schema.references:
        row["input_images"] = [
            {"bytes": content, "path": Path(path).name}
            for content, (path, _) in zip(read_references(final), final.references, strict=True)
        ]
    row[schema.image_columns[-1]] = {"bytes": content, "path": _file_name(final, schema)}
    row |= {"sha256": staged.sha256, "image_key": final.key, "width": staged.width, "height": staged.height}
    first, guides = row_plan.drawings[0], read_guides(row_plan.drawings[0])
    for role, path, sha256 in first.guides:
        row |= {role: {"bytes": guides[role], "path": Path(path).name}, f"{role}_sha256": sha256}
    if schema.chained:
        generated = _find(staging, first, schema.encoding)
        row |= _provenance("", first, generated, models["generate"], schema.step_measures)
    row |= _provenance(
        "edit_" if schema.chained else "", final, staged, models[row_plan.steps[-1]], schema.step_measures
    )
    if final.mask_path is not None:
        mask = {"bytes": read_mask(final), "path": Path(final.mask_path).name}
        row |= {"mask_image": mask, "mask_sha256": final.mask_hash}
    if schema.row_measures:
        images = [_find(staging, drawing, schema.encoding) for drawing in row_plan.drawings[-2:]]
        for measure in schema.row_measures:
            row[measure.name] = measure.of_row([image.measures.get(measure.name) for image in images])
    return row | _carried(schema, row_plan)


def _carried(schema: DatasetSchema, row_plan: RowPlan) -> dict[str, Any]:
    """The carried columns, and in the column of the others what does not fit into its own."""
    columns: dict[str, Any] = {}
    misfits: dict[str, Any] = {}
    for name, value in row_plan.carried.items():
        column = schema.column_of(name)
        if column not in schema.carried:
            continue
        try:
            columns[column] = carried_value(value, schema.carried[column])
        except Misfit as error:
            if schema.other is None:
                kind = type_of(schema.carried[column])
                raise BadRow(f"{shown(name)} is {shown(value)}, and its column in the dataset is {kind}") from error
            misfits[column] = value
    if schema.other and misfits:
        columns[schema.other] = json_text(misfits)
    renamed = schema.renamed
    return {renamed.get(column, column): value for column, value in columns.items()} if renamed else columns


def _input(staging: Staging, schema: DatasetSchema, row_plan: RowPlan) -> dict[str, Any]:
    """The columns of the row's input image, the source of its edit."""
    final = row_plan.final
    if final.source_path is not None:
        image = {"bytes": read_given(final), "path": Path(final.source_path).name}
        return {"input_image": image, "input_sha256": final.source_hash}
    source = row_plan.drawings[-2]
    content, staged = _read(staging, source, schema.encoding)
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


def _read(staging: Staging, drawing: Drawing, encoding: Encoding) -> tuple[bytes, Staged]:
    found = staging.read(drawing.key, encoding.name)
    if found is None:
        raise _missing(drawing)
    return found


def _find(staging: Staging, drawing: Drawing, encoding: Encoding) -> Staged:
    staged = staging.find(drawing.key, encoding.name)
    if staged is None:
        raise _missing(drawing)
    return staged


def _missing(drawing: Drawing) -> BuildFailed:
    return BuildFailed(f"the staged image {drawing.key} is missing or damaged; run the build again to regenerate it.")


def unique_drawings(row_plans: Iterable[RowPlan]) -> dict[str, Drawing]:
    """Image key -> drawing, each once, over all steps of the planned rows."""
    return {drawing.key: drawing for row_plan in row_plans for drawing in row_plan.drawings}
