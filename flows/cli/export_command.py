"""`imagemill export`: a dataset in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from imagemill.data.errors import RecipeError


def add_commands(app: App) -> None:
    """Register the command."""
    app.command(export)


def export(
    output: Annotated[str, Parameter(help="Folder or URL of a dataset that imagemill built.")],
    /,
    *,
    format: Annotated[
        Literal[
            "imagefolder",
            "webdataset",
            "dataflow",
            "files",
            "pairs",
            "diffsynth",
            "simpletuner",
            "onetrainer",
            "dpo",
        ],
        Parameter(help="Format to write."),
    ],
    to: Annotated[Path | None, Parameter(help="Folder to write to; by default OUTPUT-FORMAT.")] = None,
    where: Annotated[
        str | None, Parameter(help="Only rows that meet this filter, such as \"width >= 512 and prompt like '%fox%'\".")
    ] = None,
    from_: Annotated[
        Literal["data", "rejected", "pairs"],
        Parameter(
            name="--from", help="Rows to export: the dataset's, its rejected candidates, or its preference pairs."
        ),
    ] = "data",
    caption: Annotated[
        str | None, Parameter(help="Column of the captions; by default the instruction of an edit, or the prompt.")
    ] = None,
    name: Annotated[str | None, Parameter(help="Column that names the files; by default the id.")] = None,
    class_: Annotated[
        str | None, Parameter(name="--class", help="Column whose values become the folders of an image folder.")
    ] = None,
    messages: Annotated[
        bool, Parameter(help="For dataflow: ids that end in -0, -1, ... are the user messages of one row.")
    ] = False,
    sign: Annotated[
        Path | None, Parameter(help="Certificates as PEM: generated images get signed content credentials (C2PA).")
    ] = None,
    sign_key: Annotated[Path | None, Parameter(help="Private key of the certificate, as PEM.")] = None,
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object.")] = False,
) -> int:
    """Write a finished dataset's images and columns in another format, for other tools and trainers.

    In the folder of an earlier export it writes new rows and deletes removed ones. An interrupted export can be
    resumed. Exits with 0 when the export is complete, 1 when the dataset or the folder cannot be used.
    """
    from imagemill.flows.cli.export_output import print_export

    if (sign is None) != (sign_key is None):
        raise RecipeError("--sign and --sign-key go together: the certificates, and their key.")
    chosen = {"caption": caption, "name": name, "by_class": class_, "messages": messages}
    chosen["sign"] = (sign, sign_key) if sign else None
    return print_export(output, format, to, where, from_, chosen, json)
