"""Folder of a single file's configuration: what diffusers reads beside weights, made from the file and constants.

It lies in imagemill's cache under the digest of its contents, is made on first need, and holds no weights.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagemill.data.identity import digest
from imagemill.models.cache_dir import cache_folder
from imagemill.models.catalog.single_file.contents import Checkpoint, Tokenizer

_VOCABULARIES = Path(__file__).parent / "tokenizers"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_SCHEDULER, _CLIP, _T5 = "scheduler", "CLIPTokenizer", "T5TokenizerFast"


def config_folder(checkpoint: Checkpoint) -> Path:
    """The folder with a checkpoint's model_index.json, configs and tokenizers. Raises BuildFailed without a cache."""
    configs = _configs(checkpoint)
    above = cache_folder("single-files")
    folder = above / digest([configs, checkpoint.tokenizers])[:32]
    if folder.is_dir():
        return folder
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=above))
    try:
        for name, content in configs.items():
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(json.dumps(content, indent=2) + "\n")
        for name, kind in checkpoint.tokenizers.items():
            (made / name).mkdir()
            write_tokenizer(made / name, kind)
        # Another process may have made the same.
        with suppress(OSError):
            os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _configs(checkpoint: Checkpoint) -> dict[str, Any]:
    """Path in the folder -> content."""
    kinds: dict[str, tuple[str, str]] = {
        **{name: (part.library, part.kind) for name, part in checkpoint.parts.items()},
        **checkpoint.lacking,
        **{name: ("transformers", _T5 if kind == "t5" else _CLIP) for name, kind in checkpoint.tokenizers.items()},
        _SCHEDULER: ("diffusers", checkpoint.scheduler["_class_name"]),
    }
    index: dict[str, Any] = {
        "_class_name": checkpoint.family,
        **{name: list(kind) for name, kind in sorted(kinds.items())},
        **_absent(checkpoint.family),
    }
    configs = {f"{name}/config.json": dict(part.config) for name, part in checkpoint.parts.items()}
    return {
        "model_index.json": index,
        f"{_SCHEDULER}/scheduler_config.json": dict(checkpoint.scheduler),
        **configs,
    }


def _absent(family: str) -> Mapping[str, Any]:
    """Parts that a family's pipelines name and that no single file has."""
    if family.startswith("StableDiffusionPipeline") or family in (
        "StableDiffusionInpaintPipeline",
        "StableDiffusionInstructPix2PixPipeline",
    ):
        return {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    return {"force_zeros_for_empty_prompt": True} if family.startswith("StableDiffusionXL") else {}


def write_tokenizer(folder: Path, kind: Tokenizer) -> None:
    if kind == "t5":
        shutil.copyfile(_VOCABULARIES / "t5.json", folder / "tokenizer.json")
        special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        settings = {"tokenizer_class": "T5TokenizerFast", "extra_ids": 100, "model_max_length": 512, **special}
    else:
        merges = (_VOCABULARIES / "clip_merges.txt").read_text(encoding="utf-8")
        (folder / "merges.txt").write_text(merges, encoding="utf-8")
        vocabulary = {token: number for number, token in enumerate(_clip_tokens(merges))}
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        padding = _END if kind == "clip" else "!"
        special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": padding}
        settings = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "model_max_length": 77, **special}
        (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _clip_tokens(merges: str) -> list[str]:
    """CLIP's tokens, in order: each byte, each at the end of a word, each merge, and the two marks."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    # A byte that cannot be seen has a sign beyond the first 256.
    signs = [*map(chr, seen), *(chr(256 + number) for number in range(len(hidden)))]
    joined = ["".join(line.split()) for line in merges.splitlines()[1:] if line]
    return [*signs, *(f"{sign}</w>" for sign in signs), *joined, _START, _END]
