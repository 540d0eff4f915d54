"""Record of how much of each LoRA's file a model uses, in a dataset's manifest and on its card."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from imagemill.data.messages import code_span

LORAS = "loras"
"""Key in the manifest, which one without LoRAs does not have."""

Fit = Mapping[str, Any]
"""Model, LoRA's file, number of its tensors that the model uses, of all, and the first that it does not use."""


def with_loras(
    manifest: Mapping[str, Any],
    found: Iterable[Fit],
    loras: Collection[tuple[str, str]],
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The manifest with what this build's workers found, beside what ``before`` has of the same models and LoRAs.

    ``loras``: the recipe's, each with its model's name; a build that generates nothing loads none.
    """
    known = {_key(fit): dict(fit) for fit in (before or {}).get(LORAS, ())} | {_key(fit): dict(fit) for fit in found}
    listed = [fit for key, fit in sorted(known.items()) if key in loras]
    return {**manifest, **({LORAS: listed} if listed else {})}


def lora_lines(manifest: Mapping[str, Any]) -> str:
    """The card's lines on them, each with a line's end before it."""
    return "".join(
        f"\n- LoRA {code_span(fit['lora'])}: {fit['used']:,} of its {fit['tensors']:,} tensors fit "
        f"{code_span(fit['model'])}"
        for fit in manifest.get(LORAS, ())
    )


def _key(fit: Fit) -> tuple[str, str]:
    return str(fit["model"]), str(fit["lora"])
