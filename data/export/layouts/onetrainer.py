"""One flat folder as OneTrainer takes it: masks and conditioning images lie beside the image, under its name.

NAME.png, NAME.txt, NAME-condlabel.png, NAME-masklabel.png (modules/dataLoader/mixin/DataLoaderText2ImageMixin.py).
"""

from __future__ import annotations

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.row_images import caption_of, final_of, for_trainers, one_line, suffixes_of

LABELS = ("-condlabel", "-masklabel")


def onetrainer(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """The row's files. OneTrainer takes one conditioning image, so that references are left out."""
    suffixes = suffixes_of(row)
    final, caption = final_of(suffixes), caption_of(row, choices)
    if final is None or not caption:
        return LeftOut("without an image" if final is None else "without a caption")
    if named.stem.endswith(LABELS):
        return LeftOut("with a name that OneTrainer takes for a mask")
    suffix, content = for_trainers(final, suffixes[final])
    files: dict[str, ImageOf | str] = {f"{named.stem}{suffix}": content, f"{named.stem}.txt": one_line(caption)}
    source = next((image for image in ("input_image", "control_image") if image in suffixes), None)
    for image, label in zip((source, "mask_image"), LABELS, strict=True):
        if image is not None and image in suffixes:
            is_png = suffixes[image] == ".png"
            files[f"{named.stem}{label}.png"] = ImageOf(image, for_training=True, as_png=not is_png)
    return Entry(files)
