"""Scoring of one job: its requests become scores in the journal, in batches of one fixed shape."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagemill.data.records import Failure
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import Score, ScoreReport, ScorerFacts, pixels_id
from imagemill.data.staging.in_flight import InFlight
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.loading.load_errors import DeviceLost, is_sticky
from imagemill.models.loading.pipeline import device_name, pick_device
from imagemill.models.loading.scorer_cache import resident_scorer
from imagemill.models.running.quarantine import Work, split_suspects
from imagemill.models.running.timing import Timeline
from imagemill.models.score_job import ScoreJob
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.finished import finished_requests
from imagemill.models.scoring.kind import Look, Verdict, kind_of
from imagemill.models.scoring.looks import Asked, Chunk, chunks
from imagemill.models.scoring.recovery import RecoveringScorer, batch_size_of

Report = Callable[[dict[str, Any]], None]


def score(job: ScoreJob, report: Report, run: str = "once") -> ScoreReport:
    """Compute the job's scores that the journal does not have yet. ``report`` receives its events.

    A score that is known by its pixels is copied. An image that cannot be scored is in the result's ``failed``; the
    others are scored. ``run`` separates the crashes of one build from another's. Raises ImagemillError if a scorer
    itself is at fault, BuildFailed if the folder of the staged images is missing, since the build has then ended, and
    DeviceLost if this process must be replaced.
    """
    started = time.perf_counter()
    scoring = _Scoring(job, report, run)
    finished = finished_requests(Path(job.journal))
    asked = {request.id: (spec, request) for spec, requests in job.scorers for request in requests}
    missing = [key for key in asked if key not in finished]
    crashes = scoring.in_flight.crashes()
    if crashes:
        report({"kind": "worker_lost", "model": job.name, "reason": crashes[-1].reason})
    none_finished = len(missing) == len(asked)
    in_batches, suspects = split_suspects(Work(job.name, "scored"), missing, none_finished, crashes, scoring.failed)
    with scoring.timeline.sampling():
        scoring.run([asked[key] for key in in_batches], one_by_one=False)
        scoring.run([asked[key] for key in suspects], one_by_one=True)
    scoring.in_flight.clear()
    stats = replace(
        scoring.timeline.stats(),
        seconds=round(time.perf_counter() - started, 3),
        device=device_name(pick_device()) if scoring.scored else None,
        moves=sum(event["kind"] == "moved" for event in scoring.events),
    )
    return ScoreReport(
        scored=scoring.scored,
        reused=scoring.copied + len(asked) - len(missing),
        failed=scoring.failed,
        loads=tuple(event for event in scoring.events if event["kind"] == "loaded"),
        stats=stats,
        scores=(*scoring.scores, *_from_journal(job, asked.keys() - set(missing))),
        truncated=dict(scoring.truncated),
    )


def _from_journal(job: ScoreJob, requests: Set[str]) -> list[Score]:
    """The scores that the journal has for these requests."""
    if not requests:
        return []
    return [score for score in ScoreJournal(Path(job.journal)).read() if score.request in requests]


@dataclass
class _Scoring:
    """State of one job."""

    job: ScoreJob
    report: Report
    run_name: str
    failed: dict[str, Failure] = field(default_factory=dict)
    """Id of a request -> why it has no score."""
    scores: list[Score] = field(default_factory=list)
    """Everything in the journal."""
    scored: int = 0
    copied: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.staging, self.timeline = Staging(Path(self.job.staging)), Timeline(self.run_name)
        keys = [request.id for _, requests in self.job.scorers for request in requests]
        self.in_flight = InFlight(self.staging.folder, self.run_name, keys)
        self._journal = ScoreJournal(Path(self.job.journal))
        self._known = dict(self.job.known)
        self.truncated: Counter[str] = Counter()
        self._facts: dict[ScorerSpec, ScorerFacts] = {}
        self._embeddings: dict[str, Embeddings] = {}
        self._is_reversed = False

    def run(self, asked: Sequence[Asked], one_by_one: bool) -> None:
        """Score these requests, chunk after chunk."""
        for chunk in chunks(asked, self.staging):
            self.failed |= {request.id: Failure(reason) for request, reason in chunk.unreadable}
            for spec, looks in self._by_scorer(chunk):
                self._score(spec, looks, one_by_one)
            for embeddings in self._embeddings.values():
                embeddings.forget_images()

    def _by_scorer(self, chunk: Chunk) -> list[tuple[ScorerSpec, list[Look]]]:
        """Scorers of one model after another, and every other time backwards: the last model is still loaded then."""
        groups: dict[ScorerSpec, list[Look]] = {}
        for spec, look in chunk.looks:
            groups.setdefault(spec, []).append(look)
        ordered = sorted(groups.items(), key=lambda group: _weights_key(group[0]), reverse=self._is_reversed)
        self._is_reversed = not self._is_reversed
        return ordered

    def _score(self, spec: ScorerSpec, looks: Sequence[Look], one_by_one: bool) -> None:
        same: dict[str, list[Look]] = {}
        for look in looks:
            same.setdefault(self._pixels_id(spec, look), []).append(look)
        known = {pixels: found for pixels in same if (found := self._find(spec, pixels))}
        copies = [_copy(found, look) for pixels, found in known.items() for look in same[pixels]]
        self._journal.append(copies)
        self.scores += copies
        self.copied += len(copies)
        missing = [pixels for pixels in same if pixels not in known]
        if not missing:
            return
        kind = kind_of(spec.kind)
        with self._loaded(spec, kind.has_model) as embeddings:
            scorer = RecoveringScorer(spec, kind, self.job, embeddings, self.in_flight.abandon, {})
            while missing:
                size = 1 if one_by_one else batch_size_of(spec, kind.has_model)
                batch, missing = missing[:size], missing[size:]
                first = {same[pixels][0].request.id: pixels for pixels in batch}
                with self.in_flight.mark([*first]), self.timeline.batch():
                    good = scorer.score([same[pixels][0] for pixels in batch])
                self._add(spec, [(first[look.request.id], verdict) for look, verdict in good], same)
                if not self.scored and not good:
                    scorer.check_model(same[batch[0]][0])
            if embeddings and embeddings.cut:
                self.truncated[spec.name] += sum(
                    {look.request.text, look.request.before} & embeddings.cut != set()
                    for pixels, found in same.items()
                    for look in found
                    if pixels not in known
                )
            for pixels in same:
                if failure := scorer.failed.get(same[pixels][0].request.id):
                    self.failed |= {look.request.id: failure for look in same[pixels]}

    def _add(self, spec: ScorerSpec, good: Sequence[tuple[str, Verdict]], same: dict[str, list[Look]]) -> None:
        """Write a batch's scores to the journal: to disk, before they count."""
        scorer, scores, copies = self._facts[spec].id, [], []
        for pixels, verdict in good:
            first, *others = same[pixels]
            request = first.request
            found = Score(
                scorer,
                request.id,
                pixels,
                request.image_key,
                request.image.sha256,
                verdict.score,
                verdict.hash,
                verdict.vector,
            )
            self._known[pixels] = found
            scores.append(found)
            copies += [_copy(found, look) for look in others]
        self._journal.append(scores + copies)
        self.scores += scores + copies
        self.scored += len(scores)
        self.copied += len(copies)
        self.report({"kind": "scored", "scorer": spec.name, "images": len(scores)})

    def _pixels_id(self, spec: ScorerSpec, look: Look) -> str:
        if spec not in self._facts:
            self._facts[spec] = spec.facts()
        source, mask = look.source and look.source.hash, look.mask and look.mask.hash
        return pixels_id(self._facts[spec], look.image.hash, source, mask, look.request.text, look.request.before)

    def _find(self, spec: ScorerSpec, pixels: str) -> Score | None:
        found = self._known.get(pixels)
        # A score from before the recipe looked for near-duplicates has no vector.
        return None if found is None or (spec.keeps_vector and found.vector is None) else found

    @contextmanager
    def _loaded(self, spec: ScorerSpec, has_model: bool) -> Iterator[Embeddings | None]:
        """The embeddings by the spec's model, which is on the device in the block; None without a model."""
        if not has_model:
            yield None
            return
        size = batch_size_of(spec, has_model)
        embeddings = self._embeddings.setdefault(spec.weights_key, Embeddings(size))
        embeddings.size = size
        with self.in_flight.mark(), self.timeline.loading():
            try:
                embeddings.loaded = resident_scorer(spec, self._emit, self.job.max_resident)
            except RuntimeError as error:
                if not is_sticky(error):
                    raise
                self.in_flight.abandon(f"{type(error).__name__}: {error}")
                raise DeviceLost(str(error)) from error
        try:
            yield embeddings
        finally:
            # A model that is evicted must not be kept alive from here.
            embeddings.loaded = None

    def _emit(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.report(event)


def _weights_key(spec: ScorerSpec) -> str:
    return spec.weights_key if spec.source else ""


def _copy(score: Score, look: Look) -> Score:
    """The score as the answer to another request for the same pixels."""
    request = look.request
    return replace(score, request=request.id, image_key=request.image_key, sha256=request.image.sha256)
