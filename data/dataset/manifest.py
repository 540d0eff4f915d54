"""Manifest of a finished dataset, its fingerprint, and the list of the rows set aside."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import compress
from typing import Any

import numpy as np

from imagemill.data.config.judging.judged import rules_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.area import EXTRAS, REJECTED
from imagemill.data.dataset.files.inverse import is_inverse
from imagemill.data.dataset.files.own_files import read_set_aside
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns
from imagemill.data.dataset.published import publish_recipe, without_home
from imagemill.data.records import ModelFacts, SetAside
from imagemill.data.storage.locations import Location

PACKAGES = (
    "imagemill",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "pillow",
    "imagecodecs",
    "pyarrow",
    "prefect",
)
"""Packages whose versions the manifest records."""

_PAIR = np.dtype([("key", "S16"), ("sha256", "S32")])


def fingerprint(paths: Iterable[Location]) -> str:
    """sha256, in hexadecimal, over the sorted (image key, sha256 of the encoded bytes) of every generated image.

    Rows, files and their order do not matter; an image in two rows counts twice. 48 bytes of memory an image.
    """
    return _digest(_pairs(paths))


def candidates_fingerprint(paths: Iterable[Location]) -> str:
    """The same with each image once: over data/ and rejected/ together it is what it is, whatever a rule rejects.

    Inverse rows do not count: they come and go with their forward rows, and have the same images.
    """
    pairs = _pairs(paths, with_inverses=False)
    is_first = np.ones(len(pairs), bool)
    is_first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return _digest(pairs[is_first])


def _pairs(paths: Iterable[Location], with_inverses: bool = True) -> np.ndarray:
    """The pairs of every generated image as rows of bytes, sorted."""
    pairs = [np.empty(0, _PAIR)]
    for path in paths:
        for columns in read_columns(path, ["image_key", "sha256", "input_key", "input_sha256", "row_key"]):
            if not with_inverses:
                is_forward = [not is_inverse(row_key) for row_key in columns["row_key"]]
                columns = {name: [*compress(values, is_forward)] for name, values in columns.items()}
            for key, sha256 in (("image_key", "sha256"), ("input_key", "input_sha256")):
                both = zip(columns.get(key, ()), columns.get(sha256, ()), strict=True)
                pairs.append(np.array([(bytes.fromhex(k), bytes.fromhex(s)) for k, s in both if k is not None], _PAIR))
    # Sorted as raw bytes, since NumPy's order of byte strings ignores zeros at their end.
    flat = np.concatenate(pairs).view(np.uint8).reshape(-1, _PAIR.itemsize)
    return flat[np.lexsort(flat.T[::-1])]


def _digest(pairs: np.ndarray) -> str:
    return hashlib.sha256(pairs.tobytes()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide or store pixels, and of Python."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def make_manifest(
    folder: Folder,
    recipe: Recipe,
    files: Sequence[CommittedFile],
    models: Mapping[str, ModelFacts],
    devices: Sequence[str],
    beside: Mapping[str, Sequence[CommittedFile]] | None = None,
) -> dict[str, Any]:
    """The content of manifest.json. ``devices``: those of this build; if it used none, the earlier ones stay.

    ``beside``: files of the folders beside data/ and rejected/ (data.dataset.files.area.EXTRAS).
    """
    before = folder.read_manifest() or {}
    rejected = folder.area(REJECTED).committed()[0]
    extras = {REJECTED: rejected, **(beside or {})}
    judged: dict[str, Any] = {
        name: {"rows": _sum(extras[name], "rows"), "bytes": _sum(extras[name], "bytes"), "files": _listed(extras[name])}
        for name in EXTRAS
        if extras.get(name)
    }
    if rejected or not all(rule.is_plain for rule in rules_of(recipe).values()):
        paths = [folder.data / file.name for file in files]
        paths += [folder.area(REJECTED).path / file.name for file in rejected]
        judged["candidates_fingerprint"] = candidates_fingerprint(paths)
    return {
        "name": recipe.name,
        "fingerprint": fingerprint(folder.data / file.name for file in files),
        "rows": _sum(files, "rows"),
        "bytes": _sum(files, "bytes"),
        "files": _listed(files),
        **judged,
        "models": {
            step: {"name": facts.name, "revision": facts.revision, "identity": dict(facts.identity)}
            for step, facts in models.items()
        },
        "recipe": publish_recipe(recipe.model_dump(mode="json"))[0],
        "pinned": folder.pinned(),
        "versions": package_versions(),
        "hardware": {
            "machine": platform.machine(),
            "devices": list(devices) or before.get("hardware", {}).get("devices", []),
        },
    }


def _listed(files: Sequence[CommittedFile]) -> list[dict[str, Any]]:
    return [asdict(file) for file in files]


def _sum(files: Sequence[CommittedFile], name: str) -> int:
    return sum(getattr(file, name) for file in files)


def write_paths(folder: Folder, recipe: Recipe) -> None:
    """Keep the paths that the manifest leaves out, on this machine."""
    left_out = publish_recipe(recipe.model_dump(mode="json"))[1]
    folder.write(folder.paths, (json.dumps(left_out, indent=2, ensure_ascii=False) + "\n").encode())


def write_manifest(folder: Folder, manifest: Mapping[str, Any]) -> None:
    """Write manifest.json, the last file of a build."""
    for area in folder.areas:
        area.journal.share()
    folder.write(folder.manifest, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())


def known_failures(folder: Folder) -> dict[str, SetAside]:
    """Row key -> a row that this build or an earlier one set aside while it was generated or written."""
    lines = [*read_set_aside(folder.set_aside), *read_set_aside(folder.failures)]
    return {line["row_key"]: SetAside(**line) for line in lines if line.get("row_key")}


def _public(row: SetAside) -> dict[str, Any]:
    line = {**asdict(row), "file": without_home(row.file), "reason": without_home(row.reason)}
    if row.candidate is None:
        del line["candidate"], line["counts"]
    return line


def write_set_aside(folder: Folder, *sources: Iterable[SetAside]) -> int:
    """Write set_aside.jsonl from the sources in turn; no file if there are none.

    Returns the number of rows, and of candidates for which a row has fewer images.
    """
    rows = [row for source in sources for row in source]
    lines = [json.dumps(_public(row), ensure_ascii=False) + "\n" for row in rows]
    if lines:
        folder.write(folder.set_aside, "".join(lines).encode())
    else:
        folder.set_aside.unlink(missing_ok=True)
    return sum(row.counts for row in rows)
