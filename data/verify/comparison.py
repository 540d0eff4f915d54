"""Comparison of regenerated images with the dataset's, and of the environment with the manifest's."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from imagemill.data.dataset.manifest import package_versions
from imagemill.data.images.codec import ENCODING_VERSION, decode_image
from imagemill.data.records import Failure, ModelFacts
from imagemill.data.staging.store import Staging
from imagemill.data.verify.sampling import Sampled, encoding_version

Result = Literal["bit-equal", "pixel-equal", "differs", "not generated", "skipped"]

DECIDING = ("imagemill", "torch", "diffusers", "transformers", "pillow", "imagecodecs")
"""Packages whose versions affect pixels or their encoded bytes."""


@dataclass(frozen=True, slots=True)
class Regenerated:
    """Result of comparing a regenerated image with the dataset's."""

    id: str
    file: str
    result: Result
    """``bit-equal``; ``pixel-equal``: only the bytes differ; ``skipped``: not from the manifest's models."""
    psnr: float | None = None
    """Peak signal-to-noise ratio in decibels if it differs; above 40 the difference is invisible."""
    why: str | None = None

    @property
    def good(self) -> bool:
        """True if it is no evidence against the dataset."""
        return self.result not in ("differs", "not generated")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare_regenerated(row: Sampled, staging: Staging, failed: Mapping[str, Failure]) -> Regenerated:
    """Compare a regenerated, staged image with its row. ``failed``: image key -> why it could not be generated."""
    if not row.known:
        model = f"{row.fields['model']} at {row.fields['model_revision']}"
        return Regenerated(
            row.id, row.file, "skipped", why=f"generated with {model}, which is not as the manifest describes it"
        )
    for drawing in (row.generate, row.edit):
        if drawing is not None and drawing.key in failed:
            return Regenerated(row.id, row.file, "not generated", why=failed[drawing.key].reason)
    found = staging.read(row.final.key, row.encoding.name)
    if found is None:
        return Regenerated(row.id, row.file, "not generated", why="it was not staged")
    if found[0] == row.content:
        return Regenerated(row.id, row.file, "bit-equal")
    new, stored = (np.asarray(decode_image(content, row.id), np.float64) for content in (found[0], row.content))
    if new.shape != stored.shape:
        sizes = [f"{array.shape[1]} x {array.shape[0]}" for array in (new, stored)]
        return Regenerated(row.id, row.file, "differs", why=f"{sizes[0]} pixels, not {sizes[1]}")
    error = float(np.mean((new - stored) ** 2))
    if error == 0:
        return Regenerated(row.id, row.file, "pixel-equal")
    return Regenerated(row.id, row.file, "differs", psnr=round(float(10 * np.log10(255**2 / error)), 2))


def differing(manifest: Mapping[str, Any], models: Mapping[str, ModelFacts], devices: set[str]) -> dict[str, list[Any]]:
    """Everything that decides pixels and differs from the manifest: name -> [the manifest's value, the present one]."""
    versions, hardware = package_versions(), manifest["hardware"]
    # An earlier imagemill recorded fewer packages, and used fewer.
    before = {name: version for name, version in manifest["versions"].items() if name in DECIDING}
    pairs: dict[str, tuple[Any, Any]] = {name: (version, versions[name]) for name, version in before.items()}
    pairs["hardware"] = (hardware["devices"], sorted(devices))
    pairs["machine"] = (hardware["machine"], platform.machine())
    # An earlier one is written as it was.
    if (theirs := encoding_version(manifest)) > ENCODING_VERSION:
        pairs["encoding_version"] = (theirs, ENCODING_VERSION)
    for step, facts in models.items():
        old, new = dict(manifest["models"].get(step, {}).get("identity", {})), dict(facts.identity)
        for part in sorted({*old, *new}):
            pairs[f"{step} model's {part}"] = (old.get(part), new.get(part))
    return {name: [old, new] for name, (old, new) in pairs.items() if old != new}
