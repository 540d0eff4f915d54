"""Integrity check of a finished dataset against its manifest: files, columns, every image's bytes, fingerprint.

Everything is streamed: memory grows with the dataset only for the fingerprint, by about 200 bytes per image.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from imagemill.data.config.chain import plain_chain
from imagemill.data.config.columns import GUIDES
from imagemill.data.config.guides import guide_columns, plain_guides
from imagemill.data.dataset.carried.arrow_kinds import kind_of
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import fingerprint
from imagemill.data.dataset.measure_columns import MeasureColumn, MeasuresOf
from imagemill.data.dataset.parquet import read_schema
from imagemill.data.dataset.reader import find_finished, read_rows
from imagemill.data.dataset.schema import DatasetSchema, own_columns
from imagemill.data.errors import OutputError
from imagemill.data.images.codec import Encoding
from imagemill.data.messages import shown
from imagemill.data.storage.locations import Location, hash_file, size_and_version

Kind = Literal["missing", "extra", "size", "sha256", "unreadable", "schema", "rows", "image", "fingerprint"]

MAX_SHOWN = 20
"""Faults that a report lists one by one; it counts all of them."""

_IMAGES = (
    ("image", "sha256"),
    ("edited_image", "sha256"),
    ("input_image", "input_sha256"),
    ("mask_image", "mask_sha256"),
    *guide_columns(tuple(GUIDES)),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One contradiction to the manifest, or within a row."""

    kind: Kind
    file: str
    """Name of the Parquet file; manifest.json for a fault of the dataset as a whole."""
    what: str
    id: str | None = None
    """Id of the row, for a fault of one row's image."""


@dataclass
class Report:
    """Totals of a check, and its faults."""

    output: str
    files: int = 0
    rows: int = 0
    images: int = 0
    bytes: int = 0
    """Size of the files."""
    fingerprint: str | None = None
    """Of the files as they are; None if one cannot be read."""
    faults: list[Fault] = field(default_factory=list)
    """The first MAX_SHOWN."""
    counts: Counter[str] = field(default_factory=Counter)
    """Kind -> number of faults in all."""

    @property
    def good(self) -> bool:
        """Whether nothing differs."""
        return not self.counts

    def add(self, fault: Fault) -> None:
        """Count a fault, and list it if it is one of the first."""
        self.counts[fault.kind] += 1
        if len(self.faults) < MAX_SHOWN:
            self.faults.append(fault)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "good": self.good, "counts": dict(self.counts)}


def verify_files(output: str | Path, measures_of: MeasuresOf) -> Report:
    """Check every byte of a finished dataset against its manifest. Raises NotAnImagemillDataset and OutputError."""
    folder, manifest = find_finished(output)
    report, measures = Report(str(output)), measures_of(manifest["recipe"])
    listed = {file["name"]: file for file in manifest["files"]}
    present = {path.name: path for path in folder.data.iterdir()} if folder.data.is_dir() else {}
    for name in sorted({*listed, *present}):
        if name not in present:
            report.add(Fault("missing", name, "the manifest lists this file, and it does not exist"))
        elif name not in listed:
            what = "a file that the manifest does not list: left by an interrupted build, or added by hand"
            report.add(Fault("extra", name, what))
        else:
            _verify_file(report, present[name], listed[name])
            _verify_schema(report, present[name], manifest["recipe"], measures)
            _verify_rows(report, present[name], listed[name]["rows"])
    if report.good and report.rows != manifest["rows"]:
        what = f"{report.rows} rows were found, and the manifest says {manifest['rows']}"
        report.add(Fault("rows", folder.manifest.name, what))
    _verify_fingerprint(report, folder, manifest, [present[name] for name in listed if name in present])
    return report


def _verify_file(report: Report, path: Location, listed: Mapping[str, Any]) -> None:
    size, _ = size_and_version(path)
    report.files += 1
    report.bytes += size
    if size != listed["bytes"]:
        report.add(Fault("size", path.name, f"{size:,} bytes, and the manifest says {listed['bytes']:,}"))
    elif (found := hash_file(path)) != listed["sha256"]:
        report.add(
            Fault("sha256", path.name, f"sha256 {_short(found)}, and the manifest says {_short(listed['sha256'])}")
        )


def _verify_schema(
    report: Report, path: Location, recipe: Mapping[str, Any], measures: tuple[MeasureColumn, ...]
) -> None:
    try:
        schema = read_schema(path)
    except (pa.ArrowException, OSError):
        return  # Reported when its rows are read.
    for what in _schema_faults(schema, recipe, measures):
        report.add(Fault("schema", path.name, what))


def _schema_faults(schema: pa.Schema, recipe: Mapping[str, Any], measures: tuple[MeasureColumn, ...]) -> Iterator[str]:
    chain = plain_chain(recipe)
    generates, edits = "generate" in dict(chain), [section for kind, section in chain if kind == "edit"]
    has_turns = len(edits) > 1 or any(edit.get("multi_turn") for edit in edits)
    own = own_columns(measures)
    carried = {column.name: kind_of(column.type) for column in schema if column.name not in own}
    encoding = Encoding(recipe["image_format"])
    expected = DatasetSchema(
        chained=generates and bool(edits),
        edits=bool(edits),
        encoding=encoding,
        carried=carried,
        has_turns=has_turns,
        has_masks=any(edit.get("task") == "inpaint" for edit in edits),
        references=any(edit.get("references") for edit in edits),
        guides=plain_guides(recipe),
        measures=measures,
        # A dataset keeps the type that it was begun with.
        wide_seeds="seed" in schema.names and schema.field("seed").type == pa.uint64(),
    ).arrow()
    for column in expected:
        if column.name not in schema.names:
            yield f"there is no column {shown(column.name)}"
        elif schema.field(column.name).type != column.type:
            yield f"the column {shown(column.name)} is {schema.field(column.name).type}, and should be {column.type}"
    unknown = [name for name in schema.names if name not in expected.names]
    if unknown:
        yield f"columns that this recipe does not give: {', '.join(unknown)}"
    features = _features(schema)
    if features is None:
        yield "no 'huggingface' metadata: images would open as plain dicts"
    elif not unknown and features != _features(expected):
        yield "the 'huggingface' metadata does not describe the columns: some would open as something else"


def _features(schema: pa.Schema) -> Any:
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return None


def _verify_rows(report: Report, path: Location, expected: int) -> None:
    columns = ["id", *dict.fromkeys(name for pair in _IMAGES for name in pair)]
    count = 0
    try:
        for row in read_rows(path, columns):
            count += 1
            for image, sha256 in _IMAGES:
                # Null for the turn of an edit without a mask.
                if image in row and (image != "mask_image" or row.get(sha256) is not None):
                    _verify_image(report, path.name, row, image, sha256)
    except OutputError as error:
        report.add(Fault("unreadable", path.name, f"after {count} rows: {error.__cause__}"))
    else:
        if count != expected:
            report.add(Fault("rows", path.name, f"{count} rows, and the manifest says {expected}"))
    report.rows += count


def _verify_image(report: Report, file: str, row: Mapping[str, Any], image: str, sha256: str) -> None:
    report.images += 1
    content = row[image].get("bytes") if isinstance(row[image], Mapping) else None
    if content is None:
        what = f"{image} has no bytes"
    else:
        found = hashlib.sha256(content).hexdigest()
        if found == row.get(sha256):
            return
        what = f"the bytes of {image} have sha256 {_short(found)}, and the row's {sha256} is {_short(row.get(sha256))}"
    report.add(Fault("image", file, what, row.get("id")))


def _verify_fingerprint(report: Report, folder: Folder, manifest: Mapping[str, Any], paths: list[Location]) -> None:
    try:
        report.fingerprint = fingerprint(paths)
    except (pa.ArrowException, OSError, OutputError, ValueError, KeyError, TypeError) as error:
        what = f"it cannot be computed: {' '.join(str(error).split())[:200]}"
    else:
        if report.fingerprint == manifest["fingerprint"]:
            return
        what = f"{_short(report.fingerprint)}, and the manifest says {_short(manifest['fingerprint'])}"
    report.add(Fault("fingerprint", folder.manifest.name, what))


def _short(sha256: Any) -> str:
    """Enough of a hash to distinguish it from another."""
    return f"{sha256[:12]}..." if isinstance(sha256, str) else repr(sha256)
