"""`imagemill push`: upload of a dataset to the Hugging Face Hub."""

from __future__ import annotations

import json as as_json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter


def add_commands(app: App) -> None:
    """Register the command."""
    app.command(push)


def push(
    output: Annotated[str, Parameter(help="Folder or URL of a dataset that imagemill built.")],
    repository: Annotated[str, Parameter(help="Name of the dataset on the Hub: org/name.")],
    /,
    *,
    public: Annotated[bool, Parameter(help="Make a new repository public.")] = False,
    with_: Annotated[
        str,
        Parameter(
            name="--with",
            help="Folders to upload beside data/, separated by commas: rejected, pairs, scores, answers.",
        ),
    ] = "",
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object.")] = False,
) -> int:
    """Upload a finished dataset to the Hugging Face Hub: data, card and manifest, in one commit.

    Rejected candidates, pairs and scores are uploaded only if --with names them. Only files that differ are uploaded.
    An interrupted upload can be resumed. A new repository is private.

    Exits with 0 when the dataset is uploaded, 1 when it is not, 2 without a token or a valid name.
    """
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from imagemill.data.export.push import push as push_dataset

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    is_hidden = json or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=is_hidden) as bar:
        task = bar.add_task(repository, total=None)
        done = push_dataset(
            output,
            repository,
            public,
            lambda sent, total: bar.update(task, completed=sent, total=total),
            beside=[name.strip() for name in with_.split(",") if name.strip()],
        )
    if json:
        print(as_json.dumps(asdict(done), indent=2))
        return 0
    sent = f"{done.sent} files sent ({decimal(done.bytes)})" if done.sent else "it was there already"
    removed = f", {done.removed} removed" if done.removed else ""
    print(f"{done.url}: {done.rows:,} rows; {sent}{removed}. Commit {done.commit[:12]}.")
    return 0
