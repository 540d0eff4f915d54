"""`imagemill view`: a gallery of a dataset in the browser."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter, validators


def add_commands(app: App) -> None:
    """Register the command."""
    app.command(view)


def view(
    output: Annotated[str, Parameter(help="Folder or URL of a dataset that imagemill built, or is building.")],
    /,
    *,
    port: Annotated[
        int, Parameter(validator=validators.Number(gte=0, lte=65535), help="Port; by default a free one.")
    ] = 0,
) -> int:
    """Show a dataset in the browser: a grid of its images, filters, scores with thresholds, pairs and runs.

    Only this user of this machine can open it, by the link that is printed. Nothing is written. Ctrl-C ends it.

    Exits with 0 when it is ended, 1 when there is no dataset or the port cannot be used.
    """
    from imagemill.data.view.gallery import Gallery
    from imagemill.flows.view.server import serve

    serve(Gallery(output), port)
    return 0
