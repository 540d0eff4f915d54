"""Tar files as WebDataset reads them: the images, the caption as .txt, and every column as .json."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from imagemill.data.export.entry import Choices, ImageOf, Named, Row
from imagemill.data.export.metadata import json_columns
from imagemill.data.export.row_images import IMAGES, REFERENCES, bytes_of, caption_of, suffixes_of, tail


def write_tar(path: Path, rows: Iterable[tuple[Row, Named]], choices: Choices) -> None:
    """Write one tar: ``NAME.png`` (or ``NAME.input.png`` and ``NAME.output.png``), ``NAME.txt``, ``NAME.json``."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row, named in rows:
            for image, suffix in suffixes_of(row).items():
                _add(tar, f"{named.stem}{tail(image, '.')}{suffix}", bytes_of(row, ImageOf(image)))
            _add(tar, f"{named.stem}.txt", caption_of(row, choices).encode())
            columns = json_columns(row, without=(*IMAGES, REFERENCES))
            _add(tar, f"{named.stem}.json", json.dumps(columns, ensure_ascii=False).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # No owner and no time, so that equal rows give equal bytes.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
