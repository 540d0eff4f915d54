"""Index of a dataset for its judge: the rows and images of data/ and rejected/, the scores, and what is staged."""

from __future__ import annotations

from itertools import compress
from typing import Any

from imagemill.data.dataset.files.area import DATA, REJECTED, AreaName
from imagemill.data.dataset.files.inverse import is_inverse
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns, read_encoding, read_presence, read_schema
from imagemill.data.planning.judging.judge import Judge
from imagemill.data.scores.ledger import Ledger
from imagemill.data.staging.store import Staging
from imagemill.data.storage.locations import Location

_COLUMNS = (
    "row_key",
    "id",
    "variant",
    "candidate",
    "image_key",
    "sha256",
    "input_key",
    "input_sha256",
    "turn_index",
)


def index_dataset(judge: Judge, folder: Folder) -> None:
    """Fill the judge's tables from a dataset's files."""
    for area in (DATA, REJECTED):
        for file in folder.area(area).committed()[0]:
            _index_file(judge, area, folder.area(area).path / file.name)
    judge.placements.index_stored()
    scorers = {facts.id for facts in judge.scoring.facts.values()}
    judge.known.images.add_staged(key for key, _ in Staging(folder.staged).names())
    for columns in Ledger(folder).read(None):
        judge.known.images.add_seen(zip(columns["image_key"], columns["sha256"], strict=True))
        judge.known.images.add_score_columns(columns, scorers)
    judge.known.images.index_scores()


def _index_file(judge: Judge, area: AreaName, path: Location) -> None:
    encoding, names = read_encoding(path), read_schema(path).names
    final = "image" if "image" in names else "edited_image"
    kinds = [final, *(["input_image"] if "input_key" in names else [])]
    # Rows of rejected/ may be without images.
    present = {image: read_presence(path, image) for image in kinds} if area == REJECTED else {}
    images, name, first = judge.known.images, f"{area}/{path.name}", 0
    for columns in read_columns(path, _COLUMNS):
        rows = range(first, first + len(columns["row_key"]))
        # In a dataset without this column, each image has one edit by an instruction.
        numbers = columns.get("candidate") or _numbers(columns, final)
        stored = zip(columns["row_key"], columns["id"], columns["variant"], numbers, strict=True)
        # An inverse row is no candidate: it follows its forward row, which has the same images.
        is_forward = [not is_inverse(key) for key in columns["row_key"]]
        judge.placements.add_stored(area, compress(stored, is_forward))
        keys = {final: columns["image_key"], "input_image": columns.get("input_key")}
        if keys["input_image"] and (turns := columns.get("turn_index")):
            # The source of a later turn is the previous turn, whose own row records how it was generated.
            pairs = zip(keys["input_image"], turns, strict=True)
            keys["input_image"] = [key if turn in (None, 1) else None for key, turn in pairs]
        for image in kinds:
            sha256 = columns["input_sha256" if image == "input_image" else "sha256"]
            entries = [
                (key, value, row)
                for row, key, value in compress(zip(rows, keys[image] or (), sha256, strict=True), is_forward)
                if key is not None and value is not None and (not present or present[image][row])
            ]
            images.add_images(entries, name, image, encoding.name, encoding.lossless)
        first = rows.stop


def _numbers(columns: dict[str, list[Any]], final: str) -> list[int]:
    return columns["variant"] if final == "image" else [0] * len(columns["variant"])
