"""Reader for the JSON files in a dataset's folder, each checked against the one form that it can have.

The folder may be from someone else. A file's name is checked here, once, where it is read: no name from a folder leads
out of it. What fails the check is an OutputError with the remedy, or, in a file of lines, a missing line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from imagemill.data.dataset.files.shard_files import is_file_name
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.storage.jsonl import read_lines
from imagemill.data.storage.locations import Location


def _file_name(name: str) -> str:
    if not is_file_name(name):
        raise ValueError("is no name of a data file")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _File(_Checked):
    """A committed file, as the manifest and the journals list it."""

    name: FileName
    rows: Count
    bytes: Count
    sha256: Sha256


class _Files(_Checked):
    """The files of one folder beside data/, as the manifest lists them."""

    files: list[_File]
    rows: Count
    bytes: Count

    @field_validator("files")
    @classmethod
    def _each_once(cls, files: list[_File]) -> list[_File]:
        return _no_name_twice(files)


class _Scores(_Files):
    """The ledger's files, and the ids of each scorer's scores in them."""

    scorers: dict[str, list[str]] = {}


class _Merge(_Checked):
    name: FileName
    sha256: Sha256
    old: list[FileName]


class _About(_Checked):
    name: str
    pinned: dict[str, JsonValue]


class _Model(_Checked):
    name: str
    revision: str | None
    identity: dict[str, JsonValue]


class _Step(_Checked):
    generate: dict[str, JsonValue] | None = None
    edit: dict[str, JsonValue] | None = None


class _Recipe(_Checked):
    name: str
    image_format: Literal["png", "jpeg", "webp"] = "png"
    generate: dict[str, JsonValue] | None = None
    edit: dict[str, JsonValue] | None = None
    steps: list[_Step] | None = None


class _Hardware(_Checked):
    machine: str = ""
    devices: list[str] = []


class _Manifest(_Checked):
    fingerprint: str
    rows: Count
    files: list[_File]
    models: dict[str, _Model]
    recipe: _Recipe
    versions: dict[str, str]
    hardware: _Hardware
    pinned: dict[str, JsonValue] = {}
    rejected: _Files | None = None
    pairs: _Files | None = None
    scores: _Scores | None = None
    answers: _Files | None = None
    candidates_fingerprint: str | None = None

    @field_validator("files")
    @classmethod
    def _each_once(cls, files: list[_File]) -> list[_File]:
        return _no_name_twice(files)


class _SetAside(_Checked):
    model_config = ConfigDict(strict=True, extra="forbid")
    stage: str
    id: str | None
    file: str
    line: int
    reason: str
    attempts: int = 1
    row_key: str | None = None
    candidate: int | None = None
    counts: bool = True


class _Run(_Checked):
    """The figures of a run that are computed with."""

    started: str = ""
    seconds: Seconds = 0
    generated: Count = 0
    drawn: Count = 0
    images_per_second: Seconds = 0
    workers: dict[str, dict[str, JsonValue]] = {}


class _Attempts(_Checked):
    run: str
    kept: list[Count]
    fruitless: Count


def _no_name_twice(files: list[_File]) -> list[_File]:
    if len({file.name for file in files}) < len(files):
        raise ValueError("a file is listed twice")
    return files


def read_manifest(path: Location, about: Location) -> dict[str, Any] | None:
    """The content of manifest.json; None if there is none. Raises OutputError if it is damaged.

    ``about``: the folder.json beside it, with which a build can write the manifest again.
    """
    try:
        content = _read(path, _Manifest)
    except ValueError as error:
        again = (
            "Delete it and run `imagemill build` with the dataset's recipe: it is written again, and finished images "
            "are not regenerated."
            if about.exists()
            else "Restore it from a backup, or from where the dataset came from."
        )
        raise OutputError(f"{shown_path(path)} is damaged ({_reason(error)}). {again}") from error
    if content is None:
        return None
    recipe = {"image_format": "png", "generate": None, "edit": None, **content["recipe"]}
    hardware = {"machine": "", "devices": [], **content["hardware"]}
    return {"name": recipe["name"], "pinned": {}, **content, "recipe": recipe, "hardware": hardware}


def read_about(path: Location, manifest: Location) -> dict[str, Any] | None:
    """{"name", "pinned"} of folder.json; None if there is none. Raises OutputError if it is damaged."""
    try:
        about = _read(path, _About)
    except ValueError as error:
        again = (
            "or delete it: manifest.json has the same decisions."
            if manifest.exists()
            else 'or write {"name": NAME, "pinned": {}} into it, with the name of the recipe: random seeds and commits '
            "are then chosen again."
        )
        raise OutputError(
            f"{shown_path(path)} is damaged ({_reason(error)}). Restore it from a backup, {again}"
        ) from error
    return about and {"name": about["name"], "pinned": about["pinned"]}


def read_merge(path: Location) -> dict[str, Any] | None:
    """The merge that a kill interrupted: name and sha256 of the merged file, and its ``old`` sources.

    None if there is none, or if the file is damaged: rows that two files have are then removed from the second.
    """
    try:
        merge = _read(path, _Merge)
    except ValueError:
        return None
    return None if merge is None or merge["name"] in merge["old"] else merge


def read_journal(path: Location) -> Iterator[dict[str, Any]]:
    """The entries of a journal, without damaged lines."""
    return _lines(path, _File)


def read_set_aside(path: Location) -> Iterator[dict[str, Any]]:
    """The rows of set_aside.jsonl or failures.jsonl (data.records.SetAside), without damaged lines."""
    return _lines(path, _SetAside)


def read_run_lines(path: Location) -> Iterator[dict[str, Any]]:
    """The lines of runs.jsonl, without damaged ones."""
    return _lines(path, _Run)


def read_attempts(path: Location) -> dict[str, Any]:
    """The content of attempts.json (data.dataset.attempts); empty if there is none, or if it is damaged."""
    try:
        return _read(path, _Attempts) or {}
    except ValueError:
        return {}


def read_under_way(path: Location) -> dict[str, Any] | None:
    """The figures of a run that was killed (data.dataset.attempts); None if there are none, or if they are damaged."""
    try:
        return _read(path, _Run)
    except ValueError:
        return None


def _lines(path: Location, form: type[_Checked]) -> Iterator[dict[str, Any]]:
    for line in read_lines(path):
        try:
            form.model_validate(line)
        except ValidationError:
            continue
        yield line


def _read(path: Location, form: type[_Checked]) -> dict[str, Any] | None:
    """The content of a JSON file that has this form; None if there is none. Raises ValueError."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{shown_path(path)} cannot be read: {error.strerror or error}.") from error
    form.model_validate_json(content)
    value: dict[str, Any] = json.loads(content)
    return value


def _reason(error: ValueError) -> str:
    """The first fault in a few words, without the file's content."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:200]
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"[:200] if place else first["msg"][:200]
