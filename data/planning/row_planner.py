"""Planner of one row: its images' keys and seeds, and a RowPlan for each of its rows in the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from imagemill.data.config.chain import Link, edits_of, generate_of
from imagemill.data.config.columns import SETTINGS
from imagemill.data.config.judging.judged import GIVEN, given_of, rules_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import steps_of_models
from imagemill.data.config.steps import Edit
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BadRow
from imagemill.data.identity import MAX_SEED, digest, given_seed, image_key, image_seed
from imagemill.data.planning.row_checks import check_drawing, image_size
from imagemill.data.prompts.row import Row
from imagemill.data.prompts.row_settings import left_unread
from imagemill.data.records import Drawing, ModelFacts, RowPlan


class DrawingSpec(NamedTuple):
    """A drawing before it is built: its step, its image key, and the other fields of the Drawing."""

    step: str
    key: str
    fields: Mapping[str, Any]


EditPath = tuple[DrawingSpec, ...]
"""The drawings that lead to an image, in order."""


class PlannedRow(NamedTuple):
    """A row of the future dataset, reduced to its key: most turn out to be finished, and need no RowPlan."""

    row_key: str
    row: Row
    variant: int
    path: EditPath


_NO_SETTINGS: dict[str, Any] = dict.fromkeys(SETTINGS)


class RowPlanner:
    """Plans the dataset rows of a prompt row: first all their keys, then a RowPlan for each missing one."""

    def __init__(self, recipe: Recipe, models: Mapping[str, ModelFacts], schema: DatasetSchema) -> None:
        self.generate = generate_of(recipe)
        self.edits = edits_of(recipe)
        self.judges_given = given_of(recipe) is not None
        self.has_turns = schema.has_turns
        self.facts = models
        self.first_steps = steps_of_models(recipe)
        self.schema_key = schema.digest()
        first = next(iter(rules_of(recipe).values()))
        # The seeds of a row's candidates count up, to the largest and then on from 0.
        self.max_seed = MAX_SEED if schema.max_seed >= MAX_SEED else schema.max_seed - first.of + 1
        self.unused_negatives = 0
        """Rows whose negative prompt their model makes no use of."""
        self._last_unused = ""
        self.allows_truncated = recipe.images.truncated == "allow"

    @property
    def makes_first_image(self) -> bool:
        """True if a row begins with an image to judge; otherwise edits start from the image that the row gives."""
        return self.generate is not None or self.judges_given

    def first_image(self, row: Row, number: int) -> DrawingSpec:
        """The drawing of a row's first image of this number; the given image where that is judged. Raises BadRow."""
        return self._given(row) if self.judges_given else self.generation(row, number)

    def _given(self, row: Row) -> DrawingSpec:
        fields = {"prompt": row.prompt or "", "seed": 0, "steps": None}
        fields |= {"source_path": row.image, "source_hash": row.image_hash, "of_given": True, **self._decoding(row)}
        return DrawingSpec(GIVEN, given_key(row), fields)

    def check_seed(self, row: Row) -> None:
        """Raise BadRow if the row's seed does not fit into the dataset's column."""
        if row.seed is not None and row.seed > self.max_seed:
            raise BadRow(
                f"seed is {row.seed}: this dataset was begun with seeds up to {self.max_seed}, the most that its "
                f"column stores; give recipe.output another folder, or {left_unread('seed')}"
            )

    def planned_rows(self, row: Row) -> Iterator[list[PlannedRow]]:
        """Yield the row's planned rows, in groups that share an image. Raises BadRow.

        Of a recipe without rules of selection: every image that is generated is in the dataset.
        """
        self.check_seed(row)
        for variant in range(self.generate.images_per_prompt if self.generate else 1):
            start = (self.generation(row, variant),) if self.generate else ()
            paths = self._edit_paths(row, variant, start) if self.edits else [start]
            yield [self.planned_row(row, variant, path) for path in paths]

    def planned_row(self, row: Row, variant: int, path: EditPath) -> PlannedRow:
        """The planned row of one image, or of the input of one."""
        return PlannedRow(self._row_key(row, variant, path), row, variant, path)

    def row_plan(self, planned: PlannedRow) -> RowPlan:
        """The complete plan of a planned row."""
        row_key, row, variant, path = planned
        steps = tuple(spec.step for spec in path)
        drawings = tuple(Drawing(key=spec.key, **spec.fields) for spec in path)
        turn = len(path) - (self.generate is not None) if self.has_turns else None
        return RowPlan(row_key, row.id, variant, steps, drawings, row.prompt, row.carried, row.file, row.line, turn)

    def _edit_paths(self, row: Row, variant: int, start: EditPath) -> list[EditPath]:
        """The path of each of the row's edited images, from its first drawing to the image itself."""
        paths: list[EditPath] = []
        sources = [start]
        for link in self.edits:
            instructions, results = link.section.instructions or row.edit_prompts, []
            for source in sources:
                turns = [source]
                for instruction in instructions:
                    base = turns[-1] if link.section.multi_turn else source
                    turns.append((*base, self.edit(row, variant, link, base, instruction)))
                paths += turns[1:]
                results += turns[-1:] if link.section.multi_turn else turns[1:]
            sources = results
        return paths

    def generation(self, row: Row, variant: int) -> DrawingSpec:
        """The drawing of a row's image of this number, from its prompt. Raises BadRow."""
        assert self.generate is not None, "only a recipe that generates asks"
        section, step = self.generate, self.first_steps[row.model]
        facts = self.facts[step]
        width, height = image_size(row, section, facts)
        decides = {
            "prompt": row.prompt,
            "negative_prompt": self._negative_prompt(row, facts) or section.negative_prompt,
            "seed": image_seed(section.seed, row.id, variant) if row.seed is None else given_seed(row.seed, variant),
            "width": row.width or width,
            "height": row.height or height,
            "steps": row.steps or section.steps or facts.steps,
            "guidance_scale": _first(row.guidance_scale, section.guidance_scale, facts.guidance_scale),
        }
        check_drawing(row, decides, facts)
        guides = {role: sha256 for role, _, sha256 in row.guides}
        if not guides:
            return DrawingSpec(step, image_key("text-to-image", facts.identity, decides), decides)
        key = image_key("text-to-image", facts.identity, {**decides, **guides, "reading": row.reading})
        return DrawingSpec(step, key, {**decides, "guides": row.guides, **self._decoding(row)})

    def edit(
        self, row: Row, variant: int, link: Link[Edit], source: EditPath, instruction: str, candidate: int = 0
    ) -> DrawingSpec:
        """The drawing of one edit of an image. Raises BadRow.

        ``source``: the drawings that lead to that image, none for the row's; ``candidate``: number among its edits by
        this instruction.
        """
        # In a chain, a row's own settings apply to the first step; later edits use the recipe's.
        own = self._is_first(link)
        step = self.step_of(row, link)
        section, facts = link.section, self.facts[step]
        decides = {
            "prompt": instruction,
            "seed": given_seed(row.seed, variant + candidate)
            if own and row.seed is not None
            else image_seed(section.seed, row.id, variant, instruction, candidate),
            "width": row.width if own else None,
            "height": row.height if own else None,
            "steps": (row.steps if own else None) or section.steps or facts.steps,
            "guidance_scale": _first(row.guidance_scale if own else None, section.guidance_scale, facts.guidance_scale),
            "negative_prompt": self._negative_prompt(row, facts) if own else None,
        }
        check_drawing(row if own else row._replace(**_NO_SETTINGS), decides, facts)
        start = source[-1].key if source else f"sha256:{row.image_hash}"
        inpaints = section.task == "inpaint"
        mask = {"mask_path": row.mask, "mask_hash": row.mask_hash} if inpaints else {}
        references = row.references if section.references else ()
        inputs: dict[str, Any] = {"source": start, "mask": row.mask_hash if inpaints else None}
        inputs["references"] = [sha256 for _, sha256 in references] or None
        has_given = not source or inpaints or bool(references)
        inputs["reading"] = row.reading if has_given else None
        key = image_key("edit", facts.identity, {**decides, **inputs})
        origin = {"source": start} if source else {"source_path": row.image, "source_hash": row.image_hash}
        decoding = {**(self._decoding(row) if has_given else {}), "of_given": self.generate is None}
        return DrawingSpec(step, key, {**decides, **mask, **origin, "references": references, **decoding})

    def step_of(self, row: Row, link: Link[Edit]) -> str:
        """The step of an edit, with the model of the row if it is the first."""
        return self.first_steps[row.model] if self._is_first(link) else link.name

    def _is_first(self, link: Link[Edit]) -> bool:
        return self.generate is None and link is self.edits[0]

    def _decoding(self, row: Row) -> dict[str, Any]:
        """Decoding of the images that the row gives, as fields of a Drawing."""
        return {"reading": row.reading or 1, "truncated": self.allows_truncated}

    def _negative_prompt(self, row: Row, facts: ModelFacts) -> str | None:
        """The row's negative prompt, if the model can use it: otherwise nothing would change by it."""
        if row.negative_prompt and not facts.negative_prompt:
            self.unused_negatives += row.id != self._last_unused
            self._last_unused = row.id
            return None
        return row.negative_prompt

    def _row_key(self, row: Row, variant: int, path: EditPath) -> str:
        keys = [spec.key for spec in path]
        return digest([self.schema_key, row.id, variant, keys, row.prompt, row.carried])


def given_key(row: Row) -> str:
    """The image key of a given image that is judged as it is: of its bytes and their conversion."""
    return image_key(GIVEN, {}, {"source": f"sha256:{row.image_hash}", "reading": row.reading})


def _first(*values: float | None) -> float | None:
    for value in values:
        if value is not None:
            return value
    return None
