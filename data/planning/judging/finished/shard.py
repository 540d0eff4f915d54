"""Shard of scoring a finished dataset: its images are staged from the Parquet files, for workers to read.

They are staged apart from a build's, whose own staged images stay as they are.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_encoding, read_image_rows
from imagemill.data.images.modes import READING
from imagemill.data.planning.judging.finished.plan import ScoreShard, looks_of, requests_of
from imagemill.data.planning.judging.finished.seen import Looking, StoredLook
from imagemill.data.planning.judging.known_images import KnownImages
from imagemill.data.records import Staged
from imagemill.data.scores.records import ImageRef, Score, ScoreRequest, ScorerFacts
from imagemill.data.staging.store import Staging
from imagemill.data.storage.locations import Location

T = TypeVar("T")

Asked = tuple[ScorerFacts, str]
"""A scorer, and its request."""


def staging_folder(folder: Folder) -> Path:
    """Folder of the images that are staged for scoring; each shard has a subfolder."""
    return folder.tmp / "scoring"


@dataclass(slots=True)
class StagedShard:
    """The scores to compute for one shard, and their staged images."""

    folder: Path
    requests: dict[str, list[ScoreRequest]] = field(default_factory=dict)
    """Scorer -> its requests."""
    known: dict[str, Score] = field(default_factory=dict)
    """Pixels' id -> score of an image with the same key and other bytes: its pixels may be the same."""

    def remove(self) -> None:
        """Remove the staged images."""
        shutil.rmtree(self.folder, ignore_errors=True)


def stage_shard(
    folder: Folder, looking: Looking, connection: sqlite3.Connection, number: int, shard: ScoreShard
) -> StagedShard:
    """Stage the images of a shard's requests. ``number``: of the shard in the plan."""
    staged = StagedShard(staging_folder(folder) / str(number))
    staged.remove()
    staged.folder.mkdir(parents=True)
    _Stager(folder, looking, KnownImages(connection), requests_of(connection, number), staged).stage(shard)
    return staged


class _Stager:
    def __init__(
        self, folder: Folder, looking: Looking, known: KnownImages, wanted: Collection[str], staged: StagedShard
    ) -> None:
        self._looking, self._known, self._wanted, self._staged = looking, known, set(wanted), staged
        self._folder = folder
        self._staging = Staging(staged.folder)
        self._is_given = not looking.schema.edits and looking.schema.is_given
        self._gives_input = looking.schema.edits and not looking.schema.chained
        self._truncated = looking.recipe.images.truncated == "allow"
        self._refs: dict[str, ImageRef] = {}
        """sha256 -> where the image is staged."""

    def stage(self, shard: ScoreShard) -> None:
        path = self._folder.area(shard.area).path / shard.file
        encoding = read_encoding(path).name
        last = self._looking.schema.image_columns[-1]
        inputs: list[tuple[int, StoredLook, list[Asked]]] = []
        finals = zip(shard.rows, read_image_rows(path, last, shard.rows), strict=True)
        for row, (content, fields) in finals:
            (images,) = self._looking.images(path, [fields])
            for look in looks_of(images):
                asked = self._asked(look)
                if not asked:
                    continue
                if look.column != "input_image" and content is not None:
                    self._put(look.seen.sha256, content, encoding, self._is_given)
                inputs.append((row, look, asked))
        self._put_inputs(path, encoding, inputs)
        masks = {row: look for row, look, asked in inputs if any("mask" in facts.reads for facts, _ in asked)}
        for look, content in _contents(path, "mask_image", masks):
            self._put(look.seen.row.mask_hash or "", content, encoding, is_given=True)
        for _, look, asked in inputs:
            for facts, request in asked:
                self._request(look, facts, request)

    def _asked(self, look: StoredLook) -> list[Asked]:
        """The requests of this shard for an image; each once."""
        asked = []
        for facts, request in self._looking.requests(look):
            if request in self._wanted:
                self._wanted.discard(request)
                asked.append((facts, request))
        return asked

    def _put_inputs(
        self, path: Location, encoding: str, inputs: Collection[tuple[int, StoredLook, list[Asked]]]
    ) -> None:
        """Stage the inputs that are scored, or that an edit is compared with."""
        needed: dict[int, str] = {}
        for row, look, asked in inputs:
            if look.column == "input_image":
                needed[row] = look.seen.sha256
            elif look.seen.source is not None and any("source" in facts.reads for facts, _ in asked):
                needed[row] = look.seen.source
        for sha256, content in _contents(path, "input_image", needed):
            self._put(sha256, content, encoding, self._gives_input)

    def _put(self, sha256: str, content: bytes, encoding: str, is_given: bool) -> None:
        if sha256 in self._refs:
            return
        if is_given:
            # As the row gave it: with a profile, an orientation or another mode, which a generated image has not.
            path = self._staged.folder / f"given-{sha256}"
            path.write_bytes(content)
            self._refs[sha256] = ImageRef(None, None, str(path), sha256, READING, self._truncated)
            return
        # By its content, not by its image key: an API gives other images for one key.
        key = sha256[:32]
        self._staging.put(content, Staged(key, sha256, 0, 0, 0, ""), encoding)
        self._refs[sha256] = ImageRef(key, encoding, None, sha256)

    def _request(self, look: StoredLook, facts: ScorerFacts, request: str) -> None:
        image = self._refs.get(look.seen.sha256)
        if image is None:
            return
        scoring, seen = self._looking.scoring, look.seen
        source = self._refs.get(seen.source or "") if "source" in facts.reads else None
        mask = self._refs.get(seen.row.mask_hash or "") if "mask" in facts.reads else None
        text, before = scoring.texts(facts, seen)
        made = ScoreRequest(request, look.key, image, source, mask, text, before)
        self._staged.requests.setdefault(facts.name, []).append(made)
        self._staged.known |= {score.pixels: score for score in self._known.scores_of(look.key, facts.id)}


def _contents(path: Location, column: str, needed: Mapping[int, T]) -> Iterator[tuple[T, bytes]]:
    """(value, bytes of the image) for each of the rows that has one."""
    rows = sorted(needed)
    if not rows:
        return
    for row, (content, _) in zip(rows, read_image_rows(path, column, rows), strict=True):
        if content is not None:
            yield needed[row], content
