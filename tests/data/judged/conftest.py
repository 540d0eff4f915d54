"""A finished dataset with all that judging leaves beside it: rejected rows, a split, pairs and scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.card import dataset_card
from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.carried.features import feature
from imagemill.data.dataset.files.area import AreaName
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.files.placing import Placement, settle
from imagemill.data.dataset.files.shard_files import CommittedFile, file_name
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import make_manifest, write_manifest
from imagemill.data.dataset.parquet import write_rows, write_tables
from imagemill.data.dataset.schema import DatasetSchema

OUTCOMES = (OutcomeColumn("candidate", "int"), OutcomeColumn("split", "str"), OutcomeColumn("score_fits", "float32"))

_PAIR = pa.schema(
    [
        pa.field("prompt", pa.string()),
        pa.field("image_0", IMAGE),
        pa.field("image_1", IMAGE),
        pa.field("label_0", pa.float64()),
        pa.field("label_1", pa.float64()),
        pa.field("image_key_0", pa.string()),
        pa.field("image_key_1", pa.string()),
    ]
)
_FEATURES = {"info": {"features": {field.name: feature(field.type) for field in _PAIR}}}
PAIRS = _PAIR.with_metadata({"huggingface": json.dumps(_FEATURES)})

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Judged:
    """The dataset, its recipe and its schema."""

    folder: Folder
    recipe: Recipe
    schema: DatasetSchema
    rows: Rows

    def place(self, rejected: Callable[[int], bool], split: Callable[[int], str] = lambda number: "train") -> None:
        """Settle the rows by their numbers, and publish."""
        numbers = {row["row_key"]: number for number, row in enumerate(self.rows)}

        def placement(number: int) -> Placement:
            area: AreaName = "rejected" if rejected(number) else "data"
            outcomes = {"candidate": 0, "split": split(number), "score_fits": 0.5, "rejected_by": "fits"}
            return Placement(area, split(number), outcomes)

        settle(self.folder, self.schema, lambda keys: {key: placement(numbers[key]) for key in keys})
        self.publish()

    def publish(self) -> None:
        """Write card and manifest."""
        files, _ = self.folder.committed()
        beside = {name: [_whole(path) for path in _files(self.folder, name)] for name in ("pairs", "scores")}
        manifest = make_manifest(self.folder, self.recipe, files, {}, [], beside)
        card = dataset_card(self.recipe, self.schema, manifest, {}, [])
        self.folder.write(self.folder.card, card.encode())
        write_manifest(self.folder, manifest)


def _files(folder: Folder, name: str) -> list[Path]:
    return sorted((folder.root / name).glob("*.parquet"))


def _whole(path: Path) -> CommittedFile:
    scratch = path.with_name("scratch")
    file = write_tables(scratch, pq.read_schema(path), [pq.read_table(path)])
    scratch.unlink()
    return replace(file, name=path.name)


def put(folder: Folder, name: str, schema: pa.Schema, rows: Rows) -> None:
    """Write a file of another folder."""
    (folder.root / name).mkdir(parents=True, exist_ok=True)
    scratch = folder.scratch("beside.parquet")
    file = write_tables(scratch, schema, [table_of(rows, schema)])
    folder.publish(scratch, folder.root / name / file_name(0, file.sha256, name))


@pytest.fixture
def judged(tmp_path: Path, schema: DatasetSchema, dataset_rows: Rows) -> Judged:
    """Six rows, of which the last two are rejected, and the first is in the split test."""
    rows = [
        {
            **row,
            "id": f"row-{number}",
            "row_key": f"{number + 16:032x}",
            "image_key": f"{number:032x}",
            "sha256": hashlib.sha256(row["image"]["bytes"]).hexdigest(),
        }
        for number, row in enumerate([*dataset_rows, *dataset_rows])
    ]
    select = {"of": 3, "where": {"fits": {"min": 0.2}}}
    scorers = {"fits": {"kind": "pixels", "measure": "sharpness"}}
    fields = {"name": "small", "prompts": "p.txt", "output": str(tmp_path / "out"), "scorers": scorers}
    recipe = load_recipe({**fields, "generate": {"model": "bundled", "select": select}})
    found = Judged(Folder(tmp_path / "out"), recipe, replace(schema, outcomes=OUTCOMES), rows)
    with found.folder.lock("small"):
        scratch = found.folder.scratch("shard.parquet")
        found.folder.commit(scratch, 0, write_rows(scratch, found.schema, rows))
        pair = {"prompt": "a", "image_0": rows[0]["image"], "image_1": rows[1]["image"], "label_0": 1.0, "label_1": 0.0}
        put(found.folder, "pairs", PAIRS, [{**pair, "image_key_0": "k0", "image_key_1": "k1"}] * 3)
        put(found.folder, "scores", pa.schema([("scorer", pa.string())]), [{"scorer": "s"}] * 6)
        found.place(lambda number: number >= 4, lambda number: "test" if number == 0 else "train")
        found.folder.clear_work()
    return found
