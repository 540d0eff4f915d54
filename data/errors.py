"""Every error that imagemill raises on purpose.

ImagemillError
├── RecipeError          what the person asked for cannot be built; the command exits with 2
│   └── UnknownModel     the recipe names a model that is nowhere to be found
├── InputError           the prompts file cannot be read, or has no good row
├── OutputError          the output folder cannot be used
│   ├── NotAnImagemillDataset          it holds something else, or another recipe's dataset
│   ├── FolderInUse      another build is writing to it
│   └── DatasetDiffers   a finished dataset is not, or no longer, what its manifest says
├── BuildFailed          the build ended without a complete dataset; what was finished is kept
├── DownloadFailed       a model did not arrive as a whole; what has arrived is kept
├── UploadFailed         a dataset did not get onto the hub; what has arrived is not sent again
└── BadRow               one row is at fault: it is set aside and the others go on
"""

from __future__ import annotations

from typing import Any


class ImagemillError(Exception):
    """Base class: its message is one clear sentence for the person at the terminal."""


class RecipeError(ImagemillError):
    """The recipe, or an option given beside it, is not valid."""


class UnknownModel(RecipeError):
    """A model is neither in the catalog, nor a local folder, nor a repository."""


class InputError(ImagemillError):
    """The prompts cannot be read as a whole: no such file, unknown format, no good row."""


class OutputError(ImagemillError):
    """The output folder cannot be used."""


class NotAnImagemillDataset(OutputError):
    """The output folder holds something that this build must not touch."""


class FolderInUse(OutputError):
    """Another build holds the output folder."""


class DatasetDiffers(OutputError):
    """A finished dataset is not what its manifest says; ``report`` is all that was found."""

    def __init__(self, message: str, report: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report or {}


class BuildFailed(ImagemillError):
    """The build stopped before the dataset was complete. Finished images are kept."""


class DownloadFailed(ImagemillError):
    """A model did not arrive as a whole: no network, no room, a damaged file."""


class UploadFailed(ImagemillError):
    """A dataset did not get onto the hub: refused, no network."""


class BadRow(ImagemillError):
    """A single row cannot be built, for the reason given. Every other row is."""


def one_line(text: object, limit: int | None = 200) -> str:
    """Join a message's lines and cut it to ``limit`` characters; the class name for an exception without a message."""
    joined = " ".join(str(text).split())[:limit]
    return joined or (type(text).__name__ if isinstance(text, BaseException) else "")
