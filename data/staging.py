"""Staged pictures: drawn, encoded, and waiting for their shard to be committed.

A picture is staged by its image key, so that whoever needs it next - an edit, the shard's Parquet file, or the
build that comes after a kill - finds it, whatever drew it. A finished shard's pictures are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from data.images import LOSSLESS, Encoding, decode_picture, encode_picture, generation_parameters
from data.records import Drawing, Staged


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a batch was drawn, as far as its pictures' records say."""

    model: str
    batch_size: int
    device: str


class Staging:
    """The staged pictures below one folder. Several processes and machines may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes, drawn: Staged, encoding: str) -> None:
        """Stage the encoded picture; it is there wholly or not at all."""
        path = self._path(drawn.key, encoding)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The record goes first: a picture that is there has its record.
        _replace(self._record_path(path), json.dumps(asdict(drawn)).encode())
        _replace(path, content)

    def stage(self, picture: Image.Image, drawing: Drawing, encodings: Iterable[Encoding], drawn: Drawn) -> None:
        """Encode a picture in every way that is needed and stage it, the lossless one first."""
        parameters = generation_parameters(drawing, picture.size, drawn.model)
        for encoding in sorted(encodings, key=lambda one: not one.lossless):
            content = encode_picture(picture, encoding, parameters)
            sha256 = hashlib.sha256(content).hexdigest()
            staged = Staged(drawing.key, sha256, *picture.size, drawn.batch_size, drawn.device)
            self.put(content, staged, encoding.name)

    def complete(self, drawing: Drawing, encodings: Collection[Encoding], model: str) -> bool:
        """Whether the picture is staged in every encoding; those that can be made from a lossless one are."""
        missing = [encoding for encoding in encodings if self.find(drawing.key, encoding.name) is None]
        if not missing:
            return True
        found = self.read(drawing.key, LOSSLESS)
        if found is None:
            return False
        content, staged = found
        picture = decode_picture(content, drawing.key)
        self.stage(picture, drawing, missing, Drawn(model, staged.batch_size, staged.device))
        return True

    def find(self, key: str, encoding: str) -> Staged | None:
        """How the picture was drawn, or None where it is not staged in this encoding."""
        path = self._path(key, encoding)
        if not path.exists():
            return None
        return Staged(**json.loads(self._record_path(path).read_bytes()))

    def read(self, key: str, encoding: str) -> tuple[bytes, Staged] | None:
        """The encoded picture and how it was drawn; None where it is not staged, or is damaged (then it goes)."""
        drawn = self.find(key, encoding)
        if drawn is None:
            return None
        content = self._path(key, encoding).read_bytes()
        if hashlib.sha256(content).hexdigest() != drawn.sha256:
            self.remove(key)
            return None
        return content, drawn

    def remove(self, key: str) -> None:
        """Remove the picture in every encoding."""
        for path in (self.folder / key[:2]).glob(f"{key}.*"):
            path.unlink(missing_ok=True)

    def _path(self, key: str, encoding: str) -> Path:
        return self.folder / key[:2] / f"{key}.{encoding}"

    @staticmethod
    def _record_path(path: Path) -> Path:
        return path.with_name(path.name + ".json")


def _replace(path: Path, content: bytes) -> None:
    # No fsync: after a power cut the sha256 in the record tells a damaged picture, and it is drawn again.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
