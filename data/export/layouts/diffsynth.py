"""Images and metadata.jsonl as DiffSynth-Studio's training scripts read them (diffsynth/core/data/unified_dataset.py).

Its keys are ``image``, ``prompt`` and, of an edit, ``edit_image``: a path, or a list with the references. Paths are
relative to the folder, which is the script's --dataset_base_path, so that the export may be moved.
"""

from __future__ import annotations

from typing import Any

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.row_images import caption_of, final_of, for_trainers, references_of, suffixes_of

KEYS = {"control_image": "controlnet_image", "mask_image": "mask_image"}
"""Image -> its key; a script loads those that its --data_file_keys names."""


def diffsynth(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """``images/NAME.png``, ``edit_images/NAME.png``, ``references/NAME-1.png``, and the row's line."""
    suffixes = suffixes_of(row)
    final, caption = final_of(suffixes), caption_of(row, choices)
    if final is None or not caption:
        return LeftOut("without an image" if final is None else "without a caption")
    files: dict[str, ImageOf | str] = {}

    def place(image: str, folder: str, mark: str = "") -> str:
        suffix, content = for_trainers(image, suffixes[image])
        name = f"{folder}/{named.stem}{mark}{suffix}"
        files[name] = content
        return name

    line: dict[str, Any] = {"image": place(final, "images"), "prompt": caption}
    edited = [place("input_image", "edit_images")] if "input_image" in suffixes else []
    edited += [place(image, "references", f"-{number}") for number, image in enumerate(references_of(suffixes), 1)]
    if edited:
        line["edit_image"] = edited if len(edited) > 1 else edited[0]
    line |= {key: place(image, f"{key}s") for image, key in KEYS.items() if image in suffixes}
    return Entry(files, {"metadata.jsonl": {**line, "id": row.get("id")}})
