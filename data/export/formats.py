"""Export formats: the table of what `--format` may name. A new format is a file in layouts/ and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.export.entry import Summary
from imagemill.data.export.layouts.dataflow import LINES, dataflow, join_samples
from imagemill.data.export.layouts.diffsynth import diffsynth
from imagemill.data.export.layouts.dpo import write_dpo
from imagemill.data.export.layouts.files import files
from imagemill.data.export.layouts.imagefolder import imagefolder
from imagemill.data.export.layouts.onetrainer import onetrainer
from imagemill.data.export.layouts.pairs import pairs
from imagemill.data.export.layouts.simpletuner import simpletuner
from imagemill.data.export.layouts.webdataset import write_tar
from imagemill.data.export.loose import Layout
from imagemill.data.export.packed import Pack
from imagemill.data.export.trainers.commands import (
    diffsynth_files,
    dpo_files,
    onetrainer_files,
    pairs_files,
    simpletuner_files,
)

Join = Callable[[Iterator[dict[str, Any]]], Iterator[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Format:
    """One export format: it has either a layout, or a way to pack rows into files."""

    what: str
    """Description for the user, in a few words."""
    layout: Layout | None = None
    """A row's files and lines, by the row without its images' bytes."""
    pack: Pack | None = None
    suffix: str = ""
    """Of packed files."""
    join: Mapping[str, Join] = field(default_factory=dict)
    """File of metadata -> what makes its lines of those of the rows."""
    extras: Callable[[Summary], Mapping[str, str]] | None = None
    """The configuration files of the trainers that read it, by name."""
    sources: tuple[str, ...] = ("data", "rejected")
    """Folders of a dataset whose rows fit."""
    takes: tuple[str, ...] = ()
    """Choices beside --where and --name: caption, class, messages, sign."""


_ALL = ("data", "rejected", "pairs")

FORMATS = {
    "imagefolder": Format(
        "images and metadata.jsonl, as `datasets` reads them", imagefolder, sources=_ALL, takes=("class", "sign")
    ),
    "webdataset": Format("tar files of about 1 GB", pack=write_tar, suffix=".tar", sources=_ALL, takes=("caption",)),
    "dataflow": Format(
        "DataFlow's JSONL of conversations, images and output_image",
        dataflow,
        join={LINES: join_samples},
        takes=("messages",),
    ),
    "files": Format("images, each with a .txt of its prompt or instruction", files, takes=("caption", "sign")),
    "pairs": Format(
        "target/, control/ and the configuration of sd-scripts, musubi-tuner and ai-toolkit",
        pairs,
        extras=pairs_files,
        takes=("caption",),
    ),
    "diffsynth": Format(
        "images and metadata.jsonl, as DiffSynth-Studio reads them",
        diffsynth,
        extras=diffsynth_files,
        takes=("caption",),
    ),
    "simpletuner": Format(
        "target/, control/ and SimpleTuner's configuration", simpletuner, extras=simpletuner_files, takes=("caption",)
    ),
    "onetrainer": Format(
        "images with conditioning images and masks beside them, as OneTrainer reads them",
        onetrainer,
        extras=onetrainer_files,
        takes=("caption",),
    ),
    "dpo": Format(
        "Parquet of preference pairs, as diffusers' Diffusion-DPO script reads it",
        pack=write_dpo,
        suffix=".parquet",
        extras=dpo_files,
        sources=("pairs",),
    ),
}
