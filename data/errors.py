"""Exceptions of imagemill: every error that it raises on purpose.

ImagemillError
├── RecipeError          the recipe cannot be built; the command exits with 2
│   └── UnknownModel     the recipe names a model that cannot be found
├── InputError           the prompts file cannot be read, or has no good row
├── OutputError          the output folder cannot be used
│   ├── NotAnImagemillDataset  it holds something else, or another recipe's dataset
│   ├── FolderInUse      another build is writing to it
│   └── DatasetDiffers   a finished dataset does not match its manifest
├── BuildFailed          the build ended without a complete dataset; finished images are kept
├── DownloadFailed       a model's download is incomplete; finished files are kept
├── UploadFailed         a dataset's upload is incomplete; uploaded files are not sent again
└── BadRow               one row is at fault: it is set aside, and the build continues
"""

from __future__ import annotations

from typing import Any

from imagemill.data.messages import MAX_MESSAGE, MAX_REASON, escaped, message


class ImagemillError(Exception):
    """Base class: its message is one clear sentence for the user at the terminal.

    It is printable and of bounded length, whatever it repeats; the values in it are cut by data.messages.shown.
    """

    limit = MAX_MESSAGE
    """Characters of the message."""

    def __init__(self, text: object = "") -> None:
        super().__init__(message(text, self.limit))


class RecipeError(ImagemillError):
    """The recipe, or a command-line option, is not valid."""


class UnknownModel(RecipeError):
    """A model is not in the catalog, nor a local folder, nor a repository."""


class InputError(ImagemillError):
    """The prompts cannot be read as a whole: no such file, unknown format, no good row."""


class OutputError(ImagemillError):
    """The output folder cannot be used."""


class NotAnImagemillDataset(OutputError):
    """The output folder holds files that this build must not touch."""


class FolderInUse(OutputError):
    """Another build holds the output folder."""


class DatasetDiffers(OutputError):
    """A finished dataset does not match its manifest; ``report`` lists every fault."""

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report or {}


class BuildFailed(ImagemillError):
    """The build stopped before the dataset was complete. Finished images are kept."""


class DownloadFailed(ImagemillError):
    """A model's download is incomplete: no network, a full disk, a damaged file."""


class UploadFailed(ImagemillError):
    """A dataset's upload is incomplete: the Hub refused it, or there is no network."""


class BadRow(ImagemillError):
    """A single row cannot be built; its message is the reason."""

    limit = MAX_REASON


def one_line(text: object, limit: int | None = 200) -> str:
    """Join a message's lines and cut it to ``limit`` characters; the class name for an exception without a message."""
    joined = escaped(" ".join(str(text).split())[:limit])
    return joined or (type(text).__name__ if isinstance(text, BaseException) else "")
