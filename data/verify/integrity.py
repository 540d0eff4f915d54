"""Integrity check of a finished dataset against its manifest: files, columns, every image's bytes, fingerprint.

Everything is streamed: memory grows with the dataset only for the fingerprint, by about 200 bytes per image.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from imagemill.data.config.columns import GUIDES
from imagemill.data.config.guides import guide_columns
from imagemill.data.dataset.files.area import DATA, EXTRAS, REJECTED, files_of
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import candidates_fingerprint, fingerprint
from imagemill.data.dataset.measure_columns import MeasureColumn, MeasuresOf
from imagemill.data.dataset.parquet import count_rows, read_schema
from imagemill.data.dataset.reader import find_finished, read_rows
from imagemill.data.errors import OutputError
from imagemill.data.storage.locations import Location, hash_file, size_and_version
from imagemill.data.verify.columns import schema_faults
from imagemill.data.verify.inverse import InverseCheck, has_inverses

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
    """Name of the Parquet file, with its folder if that is not data/; manifest.json for a fault of the dataset."""
    what: str
    id: str | None = None
    """Id of the row, for a fault of one row's image."""


@dataclass(frozen=True, slots=True)
class _File:
    """An existing file that the manifest lists."""

    folder: str
    name: str
    """As it is reported."""
    path: Location
    listed: Mapping[str, Any]


@dataclass
class Report:
    """Totals of a check, and its faults."""

    output: str
    files: int = 0
    rows: int = 0
    rejected: int = 0
    """Rows in rejected/."""
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
        """True if nothing differs."""
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
    inverses = InverseCheck() if has_inverses(manifest["recipe"]) else None
    for name in (DATA, *EXTRAS):
        for file in _present(report, folder, manifest, name):
            _verify_file(report, file)
            if name in (DATA, REJECTED):
                _verify_schema(report, file, manifest["recipe"], measures)
                _verify_rows(report, file, inverses if name == DATA else None)
            elif (rows := count_rows(file.path)) != file.listed["rows"]:
                report.add(Fault("rows", file.name, f"{rows} rows, and the manifest says {file.listed['rows']}"))
    for fault in inverses.faults() if inverses else ():
        report.add(Fault("image", fault.file, fault.what, fault.id))
    if report.good and report.rows != manifest["rows"]:
        what = f"{report.rows} rows were found, and the manifest says {manifest['rows']}"
        report.add(Fault("rows", folder.manifest.name, what))
    _verify_fingerprints(report, folder, manifest)
    return report


def _present(report: Report, folder: Folder, manifest: Mapping[str, Any], name: str) -> list[_File]:
    """The manifest's existing files in one of the dataset's folders; reports missing and unlisted ones."""
    listed, top = {file["name"]: file for file in files_of(manifest, name)}, folder.root / name
    present = {path.name: path for path in top.iterdir()} if top.is_dir() else {}
    files = []
    for file in sorted({*listed, *present}):
        shown_name = file if name == DATA else f"{name}/{file}"
        if file not in present:
            report.add(Fault("missing", shown_name, "the manifest lists this file, and it does not exist"))
        elif file not in listed:
            what = "a file that the manifest does not list: left by an interrupted build, or added by hand"
            report.add(Fault("extra", shown_name, what))
        else:
            files.append(_File(name, shown_name, present[file], listed[file]))
    return files


def _verify_file(report: Report, file: _File) -> None:
    size, _ = size_and_version(file.path)
    report.files += 1
    report.bytes += size
    if size != file.listed["bytes"]:
        report.add(Fault("size", file.name, f"{size:,} bytes, and the manifest says {file.listed['bytes']:,}"))
    elif (found := hash_file(file.path)) != file.listed["sha256"]:
        what = f"sha256 {_short(found)}, and the manifest says {_short(file.listed['sha256'])}"
        report.add(Fault("sha256", file.name, what))


def _verify_schema(report: Report, file: _File, recipe: Mapping[str, Any], measures: tuple[MeasureColumn, ...]) -> None:
    try:
        schema = read_schema(file.path)
    except (pa.ArrowException, OSError):
        return  # Reported when its rows are read.
    for what in schema_faults(schema, recipe, measures, file.folder == REJECTED):
        report.add(Fault("schema", file.name, what))


def _verify_rows(report: Report, file: _File, inverses: InverseCheck | None) -> None:
    columns = ["id", "row_key", *dict.fromkeys(name for pair in _IMAGES for name in pair)]
    count, expected = 0, file.listed["rows"]
    try:
        for row in read_rows(file.path, columns):
            count += 1
            if inverses:
                inverses.add(file.name, row)
            for image, sha256 in _IMAGES:
                # Null for the turn of an edit without a mask, and in rejected/ for what a candidate never had, or lost.
                is_none = image == "mask_image" and row.get(sha256) is None
                if image in row and not (is_none or (file.folder == REJECTED and row[image] is None)):
                    _verify_image(report, file.name, row, image, sha256)
    except OutputError as error:
        report.add(Fault("unreadable", file.name, f"after {count} rows: {error.__cause__}"))
    else:
        if count != expected:
            report.add(Fault("rows", file.name, f"{count} rows, and the manifest says {expected}"))
    if file.folder == DATA:
        report.rows += count
    else:
        report.rejected += count


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


def _verify_fingerprints(report: Report, folder: Folder, manifest: Mapping[str, Any]) -> None:
    paths: dict[str, list[Location]] = {}
    for name in (DATA, REJECTED):
        listed = [folder.root / name / file["name"] for file in files_of(manifest, name)]
        paths[name] = [path for path in listed if path.exists()]
    report.fingerprint = _compared(report, folder, fingerprint, paths[DATA], manifest["fingerprint"])
    if expected := manifest.get("candidates_fingerprint"):
        _compared(report, folder, candidates_fingerprint, [*paths[DATA], *paths[REJECTED]], expected)


def _compared(
    report: Report,
    folder: Folder,
    compute: Callable[[Iterable[Location]], str],
    paths: Sequence[Location],
    expected: str,
) -> str | None:
    """A fingerprint of the files as they are, None if one cannot be read; reports one that is not the manifest's."""
    found = None
    try:
        found = compute(paths)
    except (pa.ArrowException, OSError, OutputError, ValueError, KeyError, TypeError) as error:
        what = f"it cannot be computed: {' '.join(str(error).split())[:200]}"
    else:
        if found == expected:
            return found
        what = f"{_short(found)}, and the manifest says {_short(expected)}"
    of_what = "of the candidates: " if compute is candidates_fingerprint else ""
    report.add(Fault("fingerprint", folder.manifest.name, of_what + what))
    return found


def _short(sha256: Any) -> str:
    """Enough of a hash to distinguish it from another."""
    return f"{sha256[:12]}..." if isinstance(sha256, str) else repr(sha256)
