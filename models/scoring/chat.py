"""Scoring by language models: a job's questions become scores and texts in the journal. Imports no torch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from imagemill.data.answers.records import Answer, Question, SeenImage
from imagemill.data.errors import BadRow
from imagemill.data.images.pixels import hash_pixels
from imagemill.data.records import Failure
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import ImageRef, Score, ScoreReport, ScoreRequest, pixels_id
from imagemill.data.staging.store import Staging
from imagemill.models.api.asking import Outcome, Read, answer_all
from imagemill.models.api.transport import ApiFault
from imagemill.models.ask_job import AskJob
from imagemill.models.catalog.scorers.chat import ChatScorerSpec
from imagemill.models.scoring.finished import finished_requests
from imagemill.models.scoring.reading import decode, to_mask

WINDOW = 256
"""Questions of one shard that wait at a time."""

Wanted = tuple[ChatScorerSpec, ScoreRequest]
"""One field of an answer, and the request that it answers."""

Answering = Callable[[Question, Read], Awaitable[Answer]]
"""Answers a question about images, which it decodes by the function beside it. Raises as an Asker."""


async def ask_scores(job: AskJob, answering: Mapping[str, Answering]) -> ScoreReport:
    """Request the job's scores that its journal does not have yet. ``answering``: chat scorer -> what answers for it.

    An image that has no score for good, as after a refusal, is in the result's ``failed``; one about which the model
    gave no answer, or was not asked, in ``unanswered``. Raises BuildFailed where an API is at fault.
    """
    scoring = _ChatScoring(job)
    groups = await asyncio.to_thread(scoring.lacking)

    async def answer(question: Question) -> Answer:
        wanted = groups[question.request_id][1]
        found = await answering[wanted[0][0].asker](question, scoring.reader(wanted))
        if found.values is not None:
            await scoring.add(wanted, found.values)
        return found

    outcomes = await answer_all([question for question, _ in groups.values()], answer, WINDOW)
    for (_, wanted), outcome in zip(groups.values(), outcomes, strict=True):
        scoring.close(wanted, outcome)
    return scoring.report()


class _ChatScoring:
    """State of one job."""

    def __init__(self, job: AskJob) -> None:
        self._job = job
        self._staging = Staging(Path(job.staging))
        self._journal = ScoreJournal(Path(job.journal))
        # The journal's object is for one thread at a time.
        self._writing = asyncio.Lock()
        self._scores: list[Score] = []
        self._failed: dict[str, Failure] = {}
        self._unanswered: dict[str, Failure] = {}
        self._not_asked: set[str] = set()
        self._scored = self._reused = 0

    def lacking(self) -> dict[str, tuple[Question, list[Wanted]]]:
        """Id of a question -> question, and what its answer gives; what is known by its pixels is copied instead."""
        finished = finished_requests(self._journal.folder)
        found = {request.id for _, requests in self._job.scorers for request in requests} & finished
        if found:
            self._scores = [score for score in self._journal.read() if score.request in found]
            self._reused = len(found)
        groups: dict[str, tuple[Question, list[Wanted]]] = {}
        for spec, requests in self._job.scorers:
            for request in requests:
                if request.id not in found:
                    question = _question(spec, request)
                    groups.setdefault(question.request_id, (question, []))[1].append((spec, request))
        return {key: group for key, group in groups.items() if not self._copy_known(group[1])}

    def reader(self, wanted: Sequence[Wanted]) -> Read:
        """Decodes the images of a question."""
        refs = {ref.sha256: (name, ref) for name, ref in _refs(*wanted[0])}

        def read(image: SeenImage) -> Image.Image:
            name, ref = refs[image.sha256]
            decoded = decode(ref, self._staging)
            return to_mask(decoded) if name == "mask_image" else decoded

        return read

    async def add(self, wanted: Sequence[Wanted], values: Mapping[str, object]) -> None:
        """Write what an answer gives to the journal, before it counts."""
        async with self._writing:
            await asyncio.to_thread(self._add, wanted, values)

    def close(self, wanted: Sequence[Wanted], outcome: Outcome) -> None:
        """Count a question without values."""
        ids = [request.id for _, request in wanted]
        if isinstance(outcome, Answer):
            if outcome.values is None:
                self._failed |= dict.fromkeys(ids, Failure(outcome.fault or "", max(1, outcome.requests)))
        elif isinstance(outcome, BadRow):
            self._failed |= dict.fromkeys(ids, Failure(str(outcome)))
        elif isinstance(outcome, ApiFault):
            reason = f"no answer: {outcome}; the next build asks again"
            self._unanswered |= dict.fromkeys(ids, Failure(reason, max(1, outcome.requests)))
        else:
            self._unanswered |= dict.fromkeys(ids, Failure(f"not asked yet: {outcome}"))
            self._not_asked.update(ids)

    def report(self) -> ScoreReport:
        """Results of the job."""
        return ScoreReport(
            scored=self._scored,
            reused=self._reused,
            failed=self._failed,
            unanswered=self._unanswered,
            not_asked=frozenset(self._not_asked),
            scores=tuple(self._scores),
        )

    def _add(self, wanted: Sequence[Wanted], values: Mapping[str, object]) -> None:
        pixels = self._pixels(wanted)
        scores = []
        for (spec, request), own in zip(wanted, pixels, strict=True):
            value = values[spec.field]
            is_number = isinstance(value, int | float)
            scores.append(
                Score(
                    spec.facts().id,
                    request.id,
                    own,
                    request.image_key,
                    request.image.sha256,
                    float(value) if is_number else None,
                    text=None if is_number else str(value),
                )
            )
        self._journal.append(scores)
        self._scores += scores
        self._scored += len(scores)

    def _copy_known(self, wanted: Sequence[Wanted]) -> bool:
        """Copy the scores of another file with the same pixels, if there are any for all fields."""
        if not self._job.known:
            return False
        try:
            known = [self._job.known.get(own) for own in self._pixels(wanted)]
        except BadRow:
            # It fails when it is asked about, and is counted then.
            return False
        scores = [
            replace(score, request=request.id, image_key=request.image_key, sha256=request.image.sha256)
            for (_, request), score in zip(wanted, known, strict=True)
            if score is not None
        ]
        if len(scores) < len(wanted):
            return False
        self._journal.append(scores)
        self._scores += scores
        self._reused += len(scores)
        return True

    def _pixels(self, wanted: Sequence[Wanted]) -> list[str]:
        """The identity of each score by decoded pixels. Raises BadRow."""
        read = self.reader(wanted)
        request = wanted[0][1]
        hashes: dict[str, str] = {}
        for name, ref in _refs(*wanted[0]):
            hashes["image" if ref is request.image else name] = hash_pixels(read(_seen(ref)))
        of_image, of_source, of_mask = (hashes.get(name) for name in ("image", "input_image", "mask_image"))
        if of_image is None:
            of_image = hash_pixels(decode(request.image, self._staging))
        return [pixels_id(spec.facts(), of_image, of_source, of_mask, request.text) for spec, _ in wanted]


def _question(spec: ChatScorerSpec, request: ScoreRequest) -> Question:
    """The question whose answer has the field; equal for all fields of a scorer about one image."""
    section = spec.section
    return Question(
        asker=f"scorers.{spec.asker}",
        model=section.model,
        system=section.system,
        text=request.text or "",
        fields=section.answer_fields,
        images=tuple(_seen(ref) for _, ref in _refs(spec, request)),
        revision=section.revision,
        temperature=section.temperature,
        seed=section.seed,
        max_tokens=section.max_tokens,
        extra=section.api.extra,
    )


def _seen(ref: ImageRef) -> SeenImage:
    return SeenImage(ref.path or ref.key or "", ref.sha256, ref.truncated)


def _refs(spec: ChatScorerSpec, request: ScoreRequest) -> list[tuple[str, ImageRef]]:
    """(column, where its image lies) of each image that is sent, in order."""
    found = {"input_image": request.source, "mask_image": request.mask}
    refs = ((name, found.get(name, request.image)) for name in spec.section.images)
    return [(name, ref) for name, ref in refs if ref is not None]
