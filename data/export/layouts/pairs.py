"""Folders of training images and of what they are made from, as the trainers of edits pair them: by equal names.

  target/NAME.png  target/NAME.txt     what a model is trained to make, and its caption in one line
  control/NAME.png                     what it is made from: the image that was edited, or the control image
  control_1/NAME.png ...               references of the edit
  mask/NAME.png                        the part that was edited

Nothing but training images lies in ``target``, since trainers take whatever they find there. Trainers want every image
to have as many controls as the others, so rows that differ in that have separate folders:
``references-2/target/NAME.png``. sd-scripts, musubi-tuner (through musubi.jsonl) and ai-toolkit read them.
"""

from __future__ import annotations

from typing import Any

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.row_images import caption_of, final_of, for_trainers, one_line, references_of, suffixes_of


def pairs(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """The row's files, and its line in musubi.jsonl: image_path, control_path (or control_path_0 ...), caption."""
    suffixes = suffixes_of(row)
    final, caption = final_of(suffixes), caption_of(row, choices)
    if final is None or not caption:
        return LeftOut("without an image" if final is None else "without a caption")
    source = next((image for image in ("input_image", "control_image") if image in suffixes), None)
    references = references_of(suffixes)
    controls = {image: f"control_{number}" for number, image in enumerate(references, 1)}
    if source:
        controls = {source: "control", **controls}
    folder = _group(row, source, len(references), "mask_image" in suffixes)
    places = {final: "target", **controls, **({"mask_image": "mask"} if "mask_image" in suffixes else {})}
    files: dict[str, ImageOf | str] = {}
    paths: dict[str, str] = {}
    for image, place in places.items():
        suffix, content = for_trainers(image, suffixes[image])
        paths[image] = f"{folder}{place}/{named.stem}{suffix}"
        files[paths[image]] = content
    files[f"{folder}target/{named.stem}.txt"] = one_line(caption)
    line: dict[str, Any] = {"image_path": str(choices.target / paths[final])}
    keys = ["control_path"] if len(controls) == 1 else [f"control_path_{number}" for number in range(len(controls))]
    line |= {key: str(choices.target / paths[image]) for key, image in zip(keys, controls, strict=True)}
    return Entry(files, {f"{folder}musubi.jsonl": {**line, "caption": caption}})


def _group(row: Row, source: str | None, references: int, has_mask: bool) -> str:
    """The folder of rows with as many controls as this one; the usual rows have none."""
    parts = [f"references-{references}"] if references else []
    if "mask_image" in row and not has_mask:
        parts.append("unmasked")
    if source is None and "control_image" in row:
        parts.append("plain")
    return "-".join(parts) + "/" if parts else ""
