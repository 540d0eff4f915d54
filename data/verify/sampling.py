"""Sampling of a finished dataset's rows, and reconstruction of the drawings that their images were generated from.

A row has every parameter of its images (the generated size of an input image is that of its pixels), so a sample can be
regenerated years later, without the prompts file.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagemill.data.config.chain import plain_chain
from imagemill.data.config.guides import Guide, plain_guides
from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.files.area import DATA, REJECTED, files_of
from imagemill.data.dataset.files.inverse import forward_key
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns, read_encoding, read_image_rows
from imagemill.data.errors import OutputError
from imagemill.data.identity import image_key
from imagemill.data.images.codec import ENCODING_VERSION, LOSSLESS, Encoding, decode_image
from imagemill.data.images.modes import READING
from imagemill.data.messages import shown, shown_path
from imagemill.data.records import Drawing
from imagemill.data.storage.locations import Location
from imagemill.data.verify.inverse import forward_rows

_READINGS = (None, READING)
"""Versions of the conversion of given images, as image keys have them (data.images.modes)."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A row of the dataset, and the drawings of its images."""

    id: str
    file: str
    fields: Mapping[str, Any]
    """Its columns without the images."""
    content: bytes
    """The final image, encoded."""
    encoding: Encoding
    generate: Drawing | None
    edit: Drawing | None
    """For a later turn its source is the row's input image, since each turn has a row."""
    generate_step: str | None
    """The step whose model in the manifest gives ``generate`` its image key."""
    edit_step: str | None
    """The recipe's step whose model in the manifest gives ``edit`` its image key."""
    known: bool
    """True if the drawings have the row's image key with the manifest's models; otherwise others generated it."""

    @property
    def final(self) -> Drawing:
        """The drawing of the row's main image."""
        final = self.edit or self.generate
        assert final is not None, "a row's image was generated or edited"
        return final

    def batch_size(self, step: str) -> int:
        """The recorded batch size of a step."""
        name = "batch_size" if base_step(step) == "generate" else "edit_batch_size"
        return self.fields.get(name, self.fields["batch_size"])


def sample_rows(folder: Folder, manifest: Mapping[str, Any], count: int, seed: int, given: Path) -> Iterator[Sampled]:
    """``count`` rows (or all, if there are fewer), chosen by ``seed``, in the dataset's order; rejected ones come last.

    A rejected row that has lost its image is left out, and so are inverse rows, whose images are those of other rows
    (data.verify.inverse). Input images of the rows are written into the folder ``given``.
    Raises OutputError if a file of the dataset cannot be read.
    """
    rejected = [(REJECTED, file, range(file["rows"])) for file in files_of(manifest, REJECTED)]
    files = [(DATA, file, forward_rows(folder, manifest, file)) for file in manifest["files"]] + rejected
    rows = sum(len(numbers) for *_, numbers in files)
    chosen = sorted(random.Random(seed).sample(range(rows), min(count, rows)))
    first = 0
    for area, file, numbers in files:
        in_file = [numbers[number - first] for number in chosen if first <= number < first + len(numbers)]
        first += len(numbers)
        if in_file:
            path = folder.area(area).path / file["name"]
            yield from _sample_file(path, in_file, manifest, given, is_rejected=area == REJECTED)


def named_row(folder: Folder, manifest: Mapping[str, Any], row_key: str, given: Path) -> Iterator[Sampled]:
    """As ``sample_rows``, the one row with this key; of an inverse row its forward row.

    Raises OutputError if there is none.
    """
    row_key = forward_key(row_key)
    for file in manifest["files"]:
        path, first = folder.data / file["name"], 0
        for columns in read_columns(path, ["row_key"]):
            if row_key in columns["row_key"]:
                yield from _sample_file(path, [first + columns["row_key"].index(row_key)], manifest, given, False)
                return
            first += len(columns["row_key"])
    raise OutputError(
        f"the dataset in {shown_path(folder.root)} has no row with the key {shown(row_key)}: give the value of a row's "
        "column row_key."
    )


def _sample_file(
    path: Location, rows: Sequence[int], manifest: Mapping[str, Any], given: Path, is_rejected: bool
) -> Iterator[Sampled]:
    recipe, models = manifest["recipe"], manifest["models"]
    truncated = recipe.get("images", {}).get("truncated") == "allow"
    kinds = {kind for kind, _ in plain_chain(recipe)}
    final = "edited_image" if "edit" in kinds else "image"
    try:
        encoding = replace(read_encoding(path), version=min(encoding_version(manifest), ENCODING_VERSION))
        inputs: Iterable[bytes | None] = [None] * len(rows)
        if "edit" in kinds:
            inputs = (content for content, _ in read_image_rows(path, "input_image", rows))
        masks: Iterable[bytes | None] = [None] * len(rows)
        if any(section.get("task") == "inpaint" for _, section in plain_chain(recipe)):
            masks = (content for content, _ in read_image_rows(path, "mask_image", rows))
        roles = plain_guides(recipe)
        guides = zip(*(read_image_rows(path, role, rows) for role in roles), strict=True) if roles else [()] * len(rows)
        images = zip(read_image_rows(path, final, rows), inputs, masks, guides, strict=True)
        for (content, fields), source, mask, control in images:
            is_edited = "edit" in kinds and content is not None
            if content is None and is_rejected and "generate" in kinds and source is not None:
                # It was rejected before its edit: its image is the one that would have been edited.
                content = source
            if content is None:
                if is_rejected:
                    continue
                raise ValueError(f"the row {shown(fields['id'])} has no image")
            is_later = (fields.get("turn_index") or 1) > 1
            row_guides = tuple((role, *_put(given, image)) for role, (image, _) in zip(roles, control, strict=True))
            generate = _generate(fields, source, row_guides) if "generate" in kinds and not is_later else None
            edit = _edit(fields, generate, source, mask, given) if is_edited else None
            identities = {step: model["identity"] for step, model in models.items()}
            step, reading = _edit_step(fields, edit, identities)
            first_step, first_reading = _generate_step(generate, identities)
            known = (step is not None or edit is None) and (first_step is not None or generate is None)
            generate = generate and replace(generate, reading=first_reading or 1, truncated=truncated)
            edit = edit and replace(edit, reading=reading or 1, truncated=truncated, of_given="generate" not in kinds)
            # A lossy row does not have the exact source of a later turn's edit.
            known = known and (encoding.lossless or not is_later)
            yield Sampled(fields["id"], path.name, fields, content, encoding, generate, edit, first_step, step, known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{shown_path(path)} cannot be read ({' '.join(str(error).split())[:200]}), so none of its images can be "
            "regenerated: run `imagemill build` with the dataset's recipe, which repairs it."
        ) from error


def encoding_version(manifest: Mapping[str, Any]) -> int:
    """The ENCODING_VERSION of a dataset, which may be a later one than this version of imagemill writes."""
    value = manifest["pinned"].get("encoding_version", 1)
    return value if type(value) is int and value > 0 else 1


def _generate(fields: Mapping[str, Any], source: bytes | None, guides: tuple[Guide, ...]) -> Drawing:
    # The columns width and height are the final image's.
    size = (fields["width"], fields["height"]) if source is None else decode_image(source, fields["id"]).size
    return Drawing(
        key=fields["image_key"] if source is None else fields["input_key"],
        prompt=fields["prompt"],
        negative_prompt=fields["negative_prompt"],
        seed=fields["seed"],
        steps=fields["steps"],
        guidance_scale=fields["guidance_scale"],
        width=size[0],
        height=size[1],
        guides=guides,
    )


def _edit(
    fields: Mapping[str, Any], generate: Drawing | None, source: bytes | None, mask: bytes | None, given: Path
) -> Drawing:
    chained = "edit_seed" in fields
    prefix = "edit_" if chained else ""
    common = {
        "key": fields["image_key"],
        "prompt": fields["edit_prompt"],
        "seed": fields[f"{prefix}seed"],
        "steps": fields[f"{prefix}steps"],
        "guidance_scale": fields[f"{prefix}guidance_scale"],
    }
    if mask is not None:
        common["mask_path"], common["mask_hash"] = _put(given, mask)
    if generate:
        return Drawing(**common, source=generate.key)
    path, sha256 = _put(given, source)
    references = [_put(given, image["bytes"]) for image in fields.get("input_images") or ()]
    return Drawing(
        **common,
        # In a chain this column is the generator's.
        negative_prompt=None if chained else fields["negative_prompt"],
        width=fields["width"],
        height=fields["height"],
        source_path=path,
        source_hash=sha256,
        references=tuple(references),
    )


def _put(given: Path, content: bytes | None) -> tuple[str, str]:
    """Write an image into the folder; returns its path and its sha256. Raises ValueError if the row has none."""
    if content is None:
        raise ValueError("a row lacks one of its input images")
    sha256 = hashlib.sha256(content).hexdigest()
    (given / sha256).write_bytes(content)
    return str(given / sha256), sha256


def _generate_step(generate: Drawing | None, models: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """The step whose model in the manifest gives the row's image key, and the version of conversion."""
    if generate is None:
        return None, None
    decides = {**_decides(generate), **{role: sha256 for role, _, sha256 in generate.guides}}
    # Without a size too: a model behind an API may decide it.
    requests = (decides, {**decides, "width": None, "height": None})
    for step, identity in models.items():
        for reading in _READINGS if base_step(step) == "generate" else ():
            keys = {image_key("text-to-image", identity, {**request, "reading": reading}) for request in requests}
            if generate.key in keys:
                return step, reading or 1
    return None, None


def _edit_step(
    fields: Mapping[str, Any], edit: Drawing | None, models: Mapping[str, Any]
) -> tuple[str | None, int | None]:
    """The step whose model in the manifest gives the edit the row's image key, and the version of conversion."""
    if edit is None:
        return None, None
    # A row without a size, or with one side only, has the source's size in these columns.
    sizes = [(w, h) for w in {edit.width, None} for h in {edit.height, None}]
    source = fields["input_key"] or f"sha256:{edit.source_hash}"
    decides = {**_decides(edit), "source": source, "mask": edit.mask_hash}
    decides["references"] = [sha256 for _, sha256 in edit.references] or None
    for step, identity in models.items():
        for reading in _READINGS:
            requests = ({**decides, "width": w, "height": h, "reading": reading} for w, h in sizes)
            keys = {image_key("edit", identity, request) for request in requests}
            if base_step(step) != "generate" and fields["image_key"] in keys:
                return step, reading
    return None, None


def _decides(drawing: Drawing) -> dict[str, Any]:
    names = ("prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale")
    return {name: getattr(drawing, name) for name in names}


def encodings_to_regenerate(row: Sampled, drawing: Drawing) -> tuple[Encoding, ...]:
    """The encodings in which a drawing is staged to be compared, or to be edited."""
    return (row.encoding,) if drawing is row.final else (Encoding(LOSSLESS),)
