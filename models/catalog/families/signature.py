"""Family of a pipeline class that the catalog does not have, from the signature of its ``__call__``.

The class is read from the source of the installed diffusers, which is parsed and not imported: that takes seconds, and
the flow's process imports no torch.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagemill.models.catalog.entries import Family, TaskCall

SIDE = 1024
"""Pixels of a side where the signature gives none."""

SIZE_MULTIPLE = 32
"""Pixels that width and height are multiples of: enough for the autoencoders and patches of all families so far."""

STEPS = 30
"""Values for arguments without a default in the signature."""

_NEEDS = {"prompt", "generator", "output_type", "num_inference_steps", "width", "height"}
_GUIDANCE = ("true_cfg_scale", "guidance_scale", "distilled_guidance_scale")
"""Names of the guidance, the one of which a negative prompt makes use first."""

_CONSTANTS = {"use_resolution_binning": False}
"""Arguments that every call has where the class takes them: an image has the requested size."""


def family_of(kind: str) -> Family | None:
    """The family of a class; None where diffusers has no such text-to-image pipeline, or calls it in another way."""
    defaults = _defaults(kind)
    if defaults is None or not set(defaults) >= _NEEDS or "image" in defaults:
        return None
    guidance = next((name for name in _GUIDANCE if name in defaults), None)
    constants = {name: value for name, value in _CONSTANTS.items() if name in defaults}
    return Family(
        # One row a call: some pad the texts of a batch to its longest, and then an image's bits depend on neighbours.
        tasks={"text-to-image": TaskCall(pipeline=kind, arguments=constants, max_batch=1)},
        dtype="bfloat16",
        width=_number(defaults["width"], SIDE),
        height=_number(defaults["height"], SIDE),
        steps=_number(defaults["num_inference_steps"], STEPS),
        guidance_scale=float(_number(defaults[guidance], 1)) if guidance else None,
        guidance_argument=guidance or "guidance_scale",
        uses_guidance=guidance is not None,
        size_multiple=SIZE_MULTIPLE,
        negative_prompt="negative_prompt" in defaults,
        max_sequence_length=_number(defaults.get("max_sequence_length"), 0) or None,
        texts_vary=True,
    )


def _number(value: Any, otherwise: int) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else otherwise


@lru_cache(maxsize=16)
def _defaults(kind: str) -> dict[str, Any] | None:
    """Names of the arguments of a class's call, with the defaults that are constants; None where there is no such."""
    found = find_spec("diffusers")
    if found is None or not found.submodule_search_locations or not kind.isidentifier():
        return None
    opening = re.compile(rf"^class {kind}\(", re.MULTILINE)
    for path in sorted((Path(found.submodule_search_locations[0]) / "pipelines").rglob("pipeline_*.py")):
        text = path.read_text(encoding="utf-8")
        if not opening.search(text):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == kind:
                return _arguments(node)
    return None


def _arguments(kind: ast.ClassDef) -> dict[str, Any] | None:
    call = next((part for part in kind.body if isinstance(part, ast.FunctionDef) and part.name == "__call__"), None)
    if call is None:
        return None
    names = [argument.arg for argument in call.args.args]
    constants = [default.value if isinstance(default, ast.Constant) else None for default in call.args.defaults]
    return dict.fromkeys(names) | dict(zip(names[len(names) - len(constants) :], constants, strict=True))
