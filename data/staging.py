"""Staged pictures: drawn, encoded, and waiting for their shard to be committed.

A picture is staged by its image key, so that whoever needs it next - an edit, the shard's Parquet file, or the
build that comes after a kill - finds it, whatever drew it. A finished shard's pictures are removed.

A staged picture is one file: a line of JSON, how it was drawn (data.records.Staged), and then the encoded picture.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from PIL import Image

from data.images import LOSSLESS, Encoding, decode_picture, encode_picture, generation_parameters
from data.records import Drawing, Staged


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a batch was drawn, as far as its pictures' records say."""

    model: str
    batch_size: int
    device: str
    unsafe: bool | None = None
    truncated: bool | None = None


class Staging:
    """The staged pictures below one folder. Several processes and machines may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix = str(folder)

    def put(self, content: bytes, drawn: Staged, encoding: str) -> None:
        """Stage the encoded picture; it is there wholly or not at all."""
        path = self._path(drawn.key, encoding)
        temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            self._write(temporary, content, drawn)
        except FileNotFoundError:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._write(temporary, content, drawn)
        os.replace(temporary, path)

    @staticmethod
    def _write(path: str, content: bytes, drawn: Staged) -> None:
        # No fsync: after a power cut the sha256 in the record tells a damaged picture, and it is drawn again.
        with open(path, "wb", buffering=0) as file:
            file.write(orjson.dumps(drawn) + b"\n" + content)

    def stage(self, picture: Image.Image, drawing: Drawing, encodings: Iterable[Encoding], drawn: Drawn) -> None:
        """Encode a picture in every way that is needed and stage it, the lossless one first."""
        parameters = generation_parameters(drawing, picture.size, drawn.model)
        for encoding in sorted(encodings, key=lambda one: not one.lossless):
            content = encode_picture(picture, encoding, parameters)
            sha256 = hashlib.sha256(content).hexdigest()
            how = drawn.batch_size, drawn.device, drawn.unsafe, drawn.truncated
            staged = Staged(drawing.key, sha256, *picture.size, *how)
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
        how = Drawn(model, staged.batch_size, staged.device, staged.unsafe, staged.truncated)
        self.stage(picture, drawing, missing, how)
        return True

    def note(self, key: str, encodings: Iterable[Encoding], **found: Any) -> None:
        """Put what was found out about a staged picture (fields of Staged) into its record, in each encoding."""
        for encoding in encodings:
            if staged := self.read(key, encoding.name):
                self.put(staged[0], replace(staged[1], **found), encoding.name)

    def find(self, key: str, encoding: str) -> Staged | None:
        """How the picture was drawn, or None where it is not staged in this encoding."""
        try:
            with open(self._path(key, encoding), "rb") as file:
                return _record(file.readline())
        except FileNotFoundError:
            return None

    def read(self, key: str, encoding: str) -> tuple[bytes, Staged] | None:
        """The encoded picture and how it was drawn; None where it is not staged, or is damaged (then it goes)."""
        path = self._path(key, encoding)
        try:
            with open(path, "rb") as file:
                record, _, content = file.read().partition(b"\n")
        except FileNotFoundError:
            return None
        drawn = _record(record)
        if drawn is None or hashlib.sha256(content).hexdigest() != drawn.sha256:
            Path(path).unlink(missing_ok=True)
            return None
        return content, drawn

    def remove(self, key: str, encodings: Iterable[Encoding]) -> None:
        """Remove the picture in these encodings."""
        for encoding in encodings:
            Path(self._path(key, encoding.name)).unlink(missing_ok=True)

    def _path(self, key: str, encoding: str) -> str:
        # Not a Path: making one takes longer than opening the file.
        return f"{self._prefix}/{key[:2]}/{key}.{encoding}"


def _record(line: bytes) -> Staged | None:
    try:
        return Staged(**orjson.loads(line))
    except (ValueError, TypeError):
        # What a power cut has left.
        return None
