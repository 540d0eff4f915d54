"""Image folders by class, and tar files with captions."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from imagemill.data.export.export import export
from tests.data.export.made import png, publish, row, schema


def classes_of(root: Path) -> dict[str, list[bytes]]:
    """Class -> its images, as torchvision's ImageFolder finds them: every image below a folder is of its class."""
    return {
        folder.name: sorted(path.read_bytes() for path in folder.rglob("*.png"))
        for folder in root.iterdir()
        if folder.is_dir()
    }


def test_a_column_makes_the_folders_of_classes(tmp_path: Path):
    styles = ["ink", "oil", "ink", "a/b", "Ink", None]
    rows = [row(str(number), number, edits=False, style=style) for number, style in enumerate(styles)]
    done = export(
        publish(tmp_path / "out", rows, schema(edits=False)), tmp_path / "to", "imagefolder", by_class="style"
    )
    found = classes_of(tmp_path / "to" / "images")
    assert sorted(map(len, found.values())) == [1, 1, 1, 2]
    assert found["oil"] == [png(1)]
    assert len({name.casefold() for name in found}) == 4
    assert done["left_out"] == {"without a class": 1}


def test_the_folder_of_a_class_has_no_input_of_an_edit(tmp_path: Path):
    rows = [row(str(number), number) for number in range(3)]
    export(publish(tmp_path / "out", rows, schema()), tmp_path / "to", "imagefolder", by_class="style")
    assert classes_of(tmp_path / "to" / "images") == {"ink": sorted([png(1), png(3), png(5)])}
    lines = [json.loads(line) for line in (tmp_path / "to" / "metadata.jsonl").read_text().splitlines()]
    assert [(tmp_path / "to" / line["input_image_file_name"]).read_bytes() for line in lines] == [
        png(0),
        png(2),
        png(4),
    ]


def test_a_tar_has_the_image_and_the_caption_of_each_key(tmp_path: Path):
    rows = [row(f"a.{number}", number, edits=False) for number in range(3)]
    export(publish(tmp_path / "out", rows, schema(edits=False)), tmp_path / "to", "webdataset", caption="caption")
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(tmp_path / "to" / "train-00000.tar") as tar:
        for member in tar:
            # As webdataset's base_plus_ext: the key ends at the first point of the file's name.
            key, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            assert file
            samples.setdefault(key, {})[suffix] = file.read()
    assert [(sample["png"], sample["txt"].decode()) for sample in samples.values()] == [
        (png(number), f"é {number}") for number in range(3)
    ]
