"""Shard of a judged build: its groups go step by step, each with the winners of the one before.

The flow asks what to generate, then what to score, and reports the results, until nothing is lacking.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imagemill.data.config.chain import chain_of
from imagemill.data.config.judging.judged import GIVEN
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.rows import encodings_of_source
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BuildFailed
from imagemill.data.images.codec import Encoding
from imagemill.data.planning.judging.counts import funnel_of
from imagemill.data.planning.judging.judge import Judge, Verdict
from imagemill.data.planning.judging.known_images import KnownImage
from imagemill.data.planning.judging.looks import Leaf, Look
from imagemill.data.planning.judging.placements import Placed
from imagemill.data.planning.reuse import restore_entries
from imagemill.data.prompts.row import Row
from imagemill.data.records import Drawing, Failure, SetAside
from imagemill.data.scores.funnel import Funnel
from imagemill.data.scores.records import ImageRef, Score, ScoreReport, ScoreRequest
from imagemill.data.staging.store import Staging

NOT_ASKED = "not asked"
"""Stage of a candidate about which a language model was not asked: a later build asks."""

Encodings = Mapping[str, tuple[Encoding, ...]]
"""Image key -> the encodings in which that image is staged."""


@dataclass(frozen=True, slots=True)
class StepWork:
    """The images of one step to generate now."""

    step: str
    drawings: tuple[Drawing, ...]
    encodings: Encodings


class GroupShard:
    """One shard's groups, as far as they have come. A connection to the worklist belongs to one thread."""

    def __init__(
        self, recipe: Recipe, folder: Folder, schema: DatasetSchema, judge: Judge, rows: Sequence[tuple[int, Row]]
    ) -> None:
        self._folder, self._schema, self._judge, self._rows = folder, schema, judge, rows
        self._steps = [link.name for link in chain_of(recipe)]
        self._staging = Staging(folder.staged)
        self._lossless = encodings_of_source(schema)
        self._is_last = {name: number == len(self._steps) - 1 for number, name in enumerate(self._steps)}
        self._has_turns = {link.name for link in judge.planner.edits if link.section.multi_turn}
        self.touched: dict[str, tuple[Encoding, ...]] = {}
        """Image key -> encodings that are staged for this shard."""
        self.verdicts: list[Verdict] = []
        self._scores: list[Score] = []
        self.set_aside: dict[str, SetAside] = {}
        """Row key -> candidate that this build could not generate or score."""

    def judge(self) -> None:
        """Bring the verdicts up to date. Raises BuildFailed if all that was lacking is still lacking."""
        lacked = [(verdict.to_generate, verdict.to_score) for verdict in self.verdicts]
        self.verdicts = [self._judge.verdict(row) for _, row in self._rows]
        lacking = [(verdict.to_generate, verdict.to_score) for verdict in self.verdicts]
        if lacking == lacked and any(map(any, lacking)):
            raise BuildFailed(
                f"images or scores of this build are missing from {self._folder.state}: run the build again; it "
                "generates and scores them."
            )

    @property
    def to_score(self) -> list[Look]:
        """Candidates whose images exist and that lack scores."""
        return [look for verdict in self.verdicts for look in verdict.to_score]

    def next_work(self) -> list[StepWork]:
        """Images to generate before the next choices, by step in order; restores the sources that exist."""
        looks = [look for verdict in self.verdicts for look in verdict.to_generate]
        wanted: dict[str, dict[str, Drawing]] = {}
        restored: dict[str, tuple[Drawing, tuple[Encoding, ...]]] = {}
        for look in looks:
            drawings = self._drawings(look)
            steps = [spec.step for spec in look.planned.path]
            wanted.setdefault(steps[-1], {})[drawings[-1].key] = drawings[-1]
            for step, drawing in reversed([*zip(steps, drawings)][:-1]):
                image = self._judge.known.image(drawing.key)
                if image is not None and image.is_stored and image.is_lossless:
                    restored[drawing.key] = drawing, self._lossless
                    break
                # Staged, or, where only a lossy copy is kept, generated again: an edit sees exactly these pixels.
                wanted.setdefault(step, {})[drawing.key] = drawing
        self._restore(restored)
        return [
            StepWork(step, tuple(wanted[step].values()), {key: self._encodings(step) for key in wanted[step]})
            for step in sorted(wanted, key=self._place_of)
        ]

    def generated(self, work: Sequence[StepWork], failed: Mapping[str, Failure]) -> None:
        """Learn the outcome: the images that are staged now, and those that failed."""
        for verdict in self.verdicts:
            for look in verdict.to_generate:
                if look.key in failed:
                    self._fail(look, look.planned.path[-1].step, failed[look.key])
        for step in work:
            self.touched |= step.encodings
            for drawing in step.drawings:
                if drawing.key not in failed:
                    self._learn_staged(drawing.key)

    def requests(self) -> dict[str, list[ScoreRequest]]:
        """Scorer -> its requests for the candidates that it has not scored; their images are staged."""
        restored: dict[str, tuple[Drawing, tuple[Encoding, ...]]] = {}
        requests: dict[str, dict[str, ScoreRequest]] = {}
        for look in self.to_score:
            drawings = self._drawings(look)
            restored |= self._stored(drawings[-2:])
            for facts in look.lacking:
                request = self._request(look, drawings, facts.name)
                requests.setdefault(facts.name, {}).setdefault(request.id, request)
        self._restore(restored)
        return {name: list(found.values()) for name, found in requests.items()}

    def known_scores(self) -> dict[str, Score]:
        """Pixels' id -> score of the candidates to score, from files with other bytes: the pixels may be the same."""
        images = self._judge.known.images
        found = (images.scores_of(look.key, facts.id) for look in self.to_score for facts in look.lacking)
        return {score.pixels: score for scores in found for score in scores}

    def scored(self, report: ScoreReport) -> None:
        """Learn scores, and what could not be scored."""
        self._judge.known.learn(report.scores)
        self._scores += report.scores
        for look in self.to_score if report.failed or report.unanswered else ():
            for facts in look.lacking:
                assert look.seen is not None, "a candidate to score has an image"
                request = self._judge.scoring.request(facts, look.seen) or ""
                if failure := report.failed.get(request) or report.unanswered.get(request):
                    reason = f"scorer {facts.asker or facts.name}: {failure.reason}"
                    stage = NOT_ASKED if request in report.not_asked else "score"
                    self._fail(look, stage, Failure(reason, failure.attempts), is_pinned=request in report.failed)

    def leaves_to_write(self) -> list[Leaf]:
        """The rows that no committed file has; their images are staged."""
        leaves = [leaf for verdict in self.verdicts for leaf in verdict.to_write]
        restored: dict[str, tuple[Drawing, tuple[Encoding, ...]]] = {}
        for leaf in leaves:
            restored |= self._stored(self._drawings(leaf.look))
        self._restore(restored)
        return leaves

    def faults(self) -> Iterator[SetAside]:
        """Every candidate that could not be generated or scored, by this build or an earlier one."""
        for verdict in self.verdicts:
            for fault, is_missed in verdict.replay.failures:
                yield fault if fault.stage == NOT_ASKED else fault.counted(is_missed)

    def places(self, leaves: Sequence[Leaf]) -> Iterator[tuple[Placed, Leaf]]:
        """Place of each of these rows."""
        number_of = {row.id: number for number, row in self._rows}
        for leaf in leaves:
            yield self._judge.outcomes.place(number_of[leaf.look.planned.row.id], leaf), leaf

    def place(self, without: Collection[str | None] = ()) -> None:
        """Record where the groups' rows belong, and their new facts. ``without``: keys of rows that are not written."""
        self._judge.known.images.add_scores(self._scores)
        leaves = [leaf for verdict in self.verdicts for leaf in verdict.leaves if leaf.row_key not in without]
        self._judge.placements.place(place for place, _ in self.places(leaves))

    def funnel(self) -> Funnel:
        """Numbers of candidates by their fate."""
        return sum((funnel_of(verdict) for verdict in self.verdicts), Funnel())

    def _drawings(self, look: Look) -> tuple[Drawing, ...]:
        return tuple(Drawing(key=spec.key, **spec.fields) for spec in look.planned.path)

    def _stored(self, drawings: Sequence[Drawing]) -> dict[str, tuple[Drawing, tuple[Encoding, ...]]]:
        """Those whose images a committed file has, to be staged as the dataset has images. A given one is a file."""
        if self._judge.planner.judges_given:
            return {}
        images = ((drawing, self._judge.known.image(drawing.key)) for drawing in drawings)
        return {
            drawing.key: (drawing, (self._schema.encoding,)) for drawing, image in images if image and image.is_stored
        }

    def _place_of(self, step: str) -> int:
        return self._steps.index(base_step(step))

    def _encodings(self, step: str) -> tuple[Encoding, ...]:
        name = base_step(step)
        is_source = not self._is_last[name] or name in self._has_turns
        return self._lossless if is_source else (self._schema.encoding,)

    def _request(self, look: Look, drawings: Sequence[Drawing], name: str) -> ScoreRequest:
        scoring, final, row = self._judge.scoring, drawings[-1], look.planned.row
        facts = scoring.facts[name]
        assert look.seen is not None, "a candidate to score has an image"
        assert look.image is not None, "a candidate to score has an image"
        request = scoring.request(facts, look.seen)
        assert request is not None, "a scorer that has no text does not look"
        source = mask = None
        if "source" in facts.reads and final.source_path is not None:
            source = self._given(final.source_path, row.image_hash or "", final)
        elif "source" in facts.reads and final.source is not None:
            source = ImageRef(final.source, self._schema.encoding.name, None, look.seen.source or "")
        if "mask" in facts.reads and final.mask_path is not None:
            mask = self._given(final.mask_path, row.mask_hash or "", final)
        text, before = scoring.texts(facts, look.seen)
        if look.planned.path[-1].step == GIVEN:
            image = self._given(final.source_path or "", row.image_hash or "", final)
        else:
            image = ImageRef(final.key, self._schema.encoding.name, None, look.image.sha256)
        return ScoreRequest(request, final.key, image, source, mask, text, before)

    def _given(self, path: str, sha256: str, drawing: Drawing) -> ImageRef:
        return ImageRef(None, None, path, sha256, drawing.reading, drawing.truncated)

    def _restore(self, images: Mapping[str, tuple[Drawing, tuple[Encoding, ...]]]) -> None:
        """Stage images that committed files have, in these encodings."""
        entries = []
        for key, (_, encodings) in images.items():
            image = self._judge.known.image(key)
            if image is None or image.file is None or image.row is None or image.image is None:
                continue
            if not any(self._staging.find(key, encoding.name) for encoding in encodings):
                entries.append((key, image.file, image.row, image.image))
        needed = {key: encodings for key, (_, encodings) in images.items()}
        restore_entries(self._folder, self._schema, entries, {key: both[0] for key, both in images.items()}, needed)
        self.touched |= dict.fromkeys(needed, self._lossless)

    def _learn_staged(self, key: str) -> None:
        if staged := self._staging.find(key, self._schema.encoding.name):
            self._judge.known.new_images[key] = KnownImage(staged.sha256, is_staged=True)

    def _fail(self, look: Look, stage: str, failure: Failure, is_pinned: bool = True) -> None:
        """Set a candidate aside. ``is_pinned``: in later builds, too, which find it by its key."""
        planned = look.planned
        fault = SetAside(
            base_step(stage),
            planned.row.id,
            planned.row.file,
            planned.row.line,
            failure.reason,
            failure.attempts,
            planned.row_key if is_pinned else None,
            candidate=look.number,
            counts=stage != NOT_ASKED,
        )
        self.set_aside[planned.row_key] = fault
        self._judge.known.new_failures[planned.row_key] = fault
