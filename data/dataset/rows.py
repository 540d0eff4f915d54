"""A shard's pictures and rows: what the dataset has already comes back to the staging, what is drawn becomes rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imagemill.data.dataset.schema import Layout, carried_name, carried_value
from imagemill.data.errors import BuildFailed
from imagemill.data.images.codec import LOSSLESS, Encoding
from imagemill.data.images.sources import read_given, read_guides, read_mask, read_references
from imagemill.data.records import Drawing, Item, ModelFacts, Staged
from imagemill.data.staging.store import Staging


def encodings_of(items: Iterable[Item], layout: Layout) -> dict[str, tuple[Encoding, ...]]:
    """Image key -> how that picture must be staged: in the dataset's encoding, and losslessly to draw from."""
    # PNG, not JPEG: the editor must see exactly the generator's pixels.
    source = (layout.encoding,) if layout.encoding.lossless else (layout.encoding, Encoding(LOSSLESS))
    needed: dict[str, tuple[Encoding, ...]] = {}
    for item in items:
        for drawing in item.drawings[:-1]:
            needed[drawing.key] = source
        needed.setdefault(item.final.key, (layout.encoding,))
    return needed


def dataset_row(staging: Staging, layout: Layout, item: Item, models: Mapping[str, ModelFacts]) -> dict[str, Any]:
    """The dataset's row for an item whose pictures are all staged. ``models``: name of a step -> its model.

    Raises BadRow where a given picture has changed since it was loaded, BuildFailed where a staged one is gone.
    """
    row: dict[str, Any] = {"id": item.id, "variant": item.variant, "row_key": item.row_key, "prompt": item.prompt}
    if item.turn is not None:
        row["turn_index"] = item.turn
    final, content, staged = item.final, *_take(staging, item.final, layout.encoding)
    if layout.edits:
        row |= {"edit_prompt": final.prompt, **_input(staging, layout, item)}
    if layout.references:
        row["input_images"] = [
            {"bytes": content, "path": Path(path).name}
            for content, (path, _) in zip(read_references(final), final.references, strict=True)
        ]
    row[layout.picture_columns[-1]] = {"bytes": content, "path": _file_name(final, layout)}
    row |= {"sha256": staged.sha256, "image_key": final.key, "width": staged.width, "height": staged.height}
    first, guides = item.drawings[0], read_guides(item.drawings[0])
    for role, path, sha256 in first.guides:
        row |= {role: {"bytes": guides[role], "path": Path(path).name}, f"{role}_sha256": sha256}
    if layout.chained:
        drawn = _found(staging.find(first.key, layout.encoding.name), first)
        row |= _provenance("", first, drawn, models["generate"], layout.truncation)
    row |= _provenance("edit_" if layout.chained else "", final, staged, models[item.steps[-1]], layout.truncation)
    if final.mask_path is not None:
        mask = {"bytes": read_mask(final), "path": Path(final.mask_path).name}
        row |= {"mask_image": mask, "mask_sha256": final.mask_hash}
    if layout.flags_unsafe:
        row["unsafe"] = _is_unsafe(staging, layout, item)
    for name, value in item.carried.items():
        column = carried_name(name)
        if column in layout.carried:
            row[column] = carried_value(value, layout.carried[column])
    return row


def _input(staging: Staging, layout: Layout, item: Item) -> dict[str, Any]:
    """The columns of the picture that the row's edit starts from."""
    if len(item.drawings) == 1:
        picture = {
            "bytes": read_given(item.final),
            "path": Path(item.final.source_path).name,
        }
        return {"input_image": picture, "input_sha256": item.final.source_hash}
    source = item.drawings[-2]
    content, staged = _take(staging, source, layout.encoding)
    picture = {"bytes": content, "path": _file_name(source, layout)}
    return {"input_image": picture, "input_sha256": staged.sha256, "input_key": source.key}


def _is_unsafe(staging: Staging, layout: Layout, item: Item) -> bool | None:
    """Whether something was found in the row's drawn pictures; None where no checker has looked at any."""
    drawings = item.drawings[-2:]
    found = [_found(staging.find(one.key, layout.encoding.name), one).unsafe for one in drawings]
    return any(found) if any(one is not None for one in found) else None


def _file_name(drawing: Drawing, layout: Layout) -> str:
    return f"{drawing.key}.{layout.encoding.image_format}"


def _provenance(prefix: str, drawing: Drawing, staged: Staged, model: ModelFacts, truncation: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "seed": drawing.seed,
        "model": model.name,
        "model_revision": model.revision,
        "steps": drawing.steps,
        "guidance_scale": drawing.guidance_scale,
        "batch_size": staged.batch_size,
    }
    if truncation:
        fields["prompt_truncated"] = staged.truncated
    named = {f"{prefix}{name}": value for name, value in fields.items()}
    return named if prefix else {**named, "negative_prompt": drawing.negative_prompt}


def _take(staging: Staging, drawing: Drawing, encoding: Encoding) -> tuple[bytes, Staged]:
    return _found(staging.read(drawing.key, encoding.name), drawing)


def _found(found: Any, drawing: Drawing) -> Any:
    if found is None:
        raise BuildFailed(f"the staged picture {drawing.key} is gone or damaged; run the build again to draw it.")
    return found


def unique_drawings(items: Iterable[Item]) -> dict[str, Drawing]:
    """Image key -> drawing, each once, over all steps of the items."""
    return {drawing.key: drawing for item in items for drawing in item.drawings}
