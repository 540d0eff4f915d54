"""Records of questions to language models, and of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.config.words.answer_fields import AnswerFields
from imagemill.data.identity import digest


@dataclass(frozen=True, slots=True)
class SeenImage:
    """An image that a model is shown."""

    path: str
    """On this machine."""
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    truncated: bool = False
    """True if a file that ends early counts as far as it goes."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as it is sent."""

    asker: str
    """Its place in the recipe: ``llm.0`` or ``scorers.judge``."""
    model: str
    system: str
    text: str
    fields: AnswerFields
    images: tuple[SeenImage, ...] = ()
    revision: str | None = None
    temperature: float | None = 0.0
    seed: int | None = None
    number: int = 0
    """Number among the answers to the same question, from 0."""
    max_tokens: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request_id(self) -> str:
        """Finds its answer without decoding an image."""
        return self._id("request", [image.sha256 for image in self.images])

    def question_id(self, pixels: Sequence[str]) -> str:
        """Finds its answer where other files hold the same images.

        ``pixels``: of each image (data.images.pixels.hash_pixels).
        """
        return self._id("question", pixels)

    def _id(self, kind: str, images: Sequence[str]) -> str:
        # Neither the asker nor the address: a step that moves in the recipe, or a server that moves, asks nothing.
        # Nor the longest answer: a raised limit asks again, with --retry-set-aside, only what was cut short.
        about = {
            "model": self.model,
            "revision": self.revision,
            "system": self.system,
            "text": self.text,
            "fields": {name: (f.kind, f.low, f.high, f.choices) for name, f in self.fields.items()},
            "images": list(images),
            "temperature": self.temperature,
            "seed": self.seed,
            "number": self.number,
            "extra": dict(self.extra),
        }
        return digest({"kind": kind, **{name: value for name, value in about.items() if value is not None}})


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a question, or its refusal: both are pinned."""

    question: str
    """``Question.question_id``."""
    request: str
    """``Question.request_id``."""
    asker: str
    model: str
    values: Mapping[str, Any] | None
    """Field -> value; None for a refusal, and for an answer that cannot be read."""
    fault: str | None
    """Why there are no values."""
    text: str
    """The model's words, cut."""
    requests: int = 0
    """HTTP requests that it took; 0 where the answer was known from other files with the same pixels."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests that one asker has made in all builds of a dataset, and what they cost."""

    requests: int = 0
    cost: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.requests + other.requests, self.cost + other.cost)
