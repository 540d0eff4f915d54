"""The command that puts a dataset onto the Hugging Face Hub: `imagemill push`."""

from __future__ import annotations

import json as as_json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter


def add_commands(app: App) -> None:
    """Add the command to the `imagemill` command."""
    app.command(push)


def push(
    output: Annotated[str, Parameter(help="The folder, or the URL, of a dataset that imagemill built.")],
    repository: Annotated[str, Parameter(help="The dataset's name on the Hub: org/name.")],
    /,
    *,
    public: Annotated[bool, Parameter(help="Let everybody see a repository that is made now.")] = False,
    json: Annotated[bool, Parameter(name="--json", help="Print one JSON object.")] = False,
) -> int:
    """Put a finished dataset onto the Hugging Face Hub: data, card and manifest, in one commit.

    Only what differs is sent. Interrupted, it goes on where it was. A new repository is private.

    Exits with 0 when the dataset is there, 1 when it is not, 2 without a token or a usable name.
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
            output, repository, public, lambda sent, total: bar.update(task, completed=sent, total=total)
        )
    if json:
        print(as_json.dumps(asdict(done), indent=2))
        return 0
    how = f"{done.sent} files sent ({decimal(done.bytes)})" if done.sent else "it was there already"
    gone = f", {done.removed} removed" if done.removed else ""
    print(f"{done.url}: {done.rows:,} rows; {how}{gone}. Commit {done.commit[:12]}.")
    return 0
