"""From rows to what is still missing: each image's key and seed, the anti-join with what is finished, the shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from imagemill.data.config.chain import Link, edits_of, generate_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.steps import Generate
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.measures import MeasuresOf
from imagemill.data.dataset.parquet import read_columns
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BadRow, RecipeError
from imagemill.data.identity import digest, given_seed, image_key, image_seed
from imagemill.data.images.size_buckets import nearest, parse_ratio
from imagemill.data.planning.reuse import find_images, would_regenerate
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.row import Row
from imagemill.data.records import Drawing, Loaded, ModelFacts, Plan, RowPlan, SetAside


class DrawingSpec(NamedTuple):
    """A drawing to be: its step's name, its image key, and the other fields of the Drawing."""

    step: str
    key: str
    fields: Mapping[str, Any]


EditPath = tuple[DrawingSpec, ...]
"""The drawings that an image goes through."""


class PlannedRow(NamedTuple):
    """A row of the dataset to be, of which only the key is made: of most, the dataset turns out to have them."""

    row_key: str
    row: Row
    variant: int
    way: EditPath


CHUNK = 1000
"""Rows that are held against what is finished in one go."""


def schema_of(recipe: Recipe, loaded: Loaded, measures_of: MeasuresOf) -> DatasetSchema:
    """The dataset's columns."""
    return DatasetSchema.of(recipe, loaded.carried, measures_of(recipe.model_dump(mode="json")))


class RowPlanner:
    """Makes what a row asks for: first the keys of all of it, then the items of what is missing."""

    def __init__(self, recipe: Recipe, models: Mapping[str, ModelFacts], schema: DatasetSchema) -> None:
        self.generate = generate_of(recipe)
        self.edits = edits_of(recipe)
        self.has_turns = schema.has_turns
        self.facts = models
        self.schema_key = schema.digest()

    def wanted(self, row: Row) -> Iterator[list[PlannedRow]]:
        """Yield what the row asks for, what shares an image together. Raises BadRow."""
        for variant in range(self.generate.images_per_prompt if self.generate else 1):
            start = (self._generate(row, variant),) if self.generate else ()
            ways = self._edit_paths(row, variant, start) if self.edits else [start]
            yield [PlannedRow(self._row_key(row, variant, way), row, variant, way) for way in ways]

    def item(self, wanted: PlannedRow) -> RowPlan:
        """The item of one of ``wanted``."""
        row_key, row, variant, way = wanted
        steps = tuple(sketch.step for sketch in way)
        drawings = tuple(Drawing(key=sketch.key, **sketch.fields) for sketch in way)
        turn = len(way) - (self.generate is not None) if self.has_turns else None
        return RowPlan(row_key, row.id, variant, steps, drawings, row.prompt, row.carried, row.file, row.line, turn)

    def _edit_paths(self, row: Row, variant: int, start: EditPath) -> list[EditPath]:
        """What each of the row's edited images goes through, from its first drawing to itself."""
        found: list[EditPath] = []
        ends = [start]
        for link in self.edits:
            texts, grown = link.section.instructions or row.edit_prompts, []
            for end in ends:
                turns = [end]
                for text in texts:
                    source = turns[-1] if link.section.multi_turn else end
                    turns.append((*source, self._edit(row, variant, link, source, text)))
                found += turns[1:]
                grown += turns[-1:] if link.section.multi_turn else turns[1:]
            ends = grown
        return found

    def _generate(self, row: Row, variant: int) -> DrawingSpec:
        section, facts = self.generate, self.facts["generate"]
        width, height = _own_size(row, section, facts)
        decides = {
            "prompt": row.prompt,
            "negative_prompt": row.negative_prompt or section.negative_prompt,
            "seed": image_seed(section.seed, row.id, variant) if row.seed is None else given_seed(row.seed, variant),
            "width": row.width or width,
            "height": row.height or height,
            "steps": row.steps or section.steps or facts.steps,
            "guidance_scale": _first(row.guidance_scale, section.guidance_scale, facts.guidance_scale),
        }
        self._check(row, decides, facts)
        also = {role: sha256 for role, _, sha256 in row.guides}
        key = image_key("text-to-image", facts.identity, {**decides, **also} if also else decides)
        return DrawingSpec("generate", key, {**decides, "guides": row.guides})

    def _check(self, row: Row, drawing: Mapping[str, Any], facts: ModelFacts) -> None:
        for name in ("width", "height"):
            value = drawing[name]
            if value is not None and value % facts.size_multiple:
                raise BadRow(f"{name} is {value}: {facts.name!r} generates multiples of {facts.size_multiple} pixels")
        if facts.only_buckets and drawing["width"] and (drawing["width"], drawing["height"]) not in facts.buckets:
            sizes = ", ".join(f"{width} x {height}" for width, height in facts.buckets)
            asked = f"{drawing['width']} x {drawing['height']}"
            raise BadRow(f"the size is {asked} pixels: {facts.name!r} generates no others than {sizes}")
        if facts.width is None and (drawing["width"] is None) != (drawing["height"] is None):
            raise BadRow(f"{facts.name!r} takes both width and height, or neither")
        if drawing["steps"] is not None and drawing["steps"] < facts.min_steps:
            raise BadRow(
                f"steps is {drawing['steps']}: with its strength {facts.name!r} needs at least {facts.min_steps}"
            )
        if row.negative_prompt and not facts.negative_prompt:
            raise BadRow(f"negative_prompt is {row.negative_prompt!r}: {facts.name!r} makes no use of negative prompts")
        if not facts.uses_guidance and row.guidance_scale not in (None, facts.guidance_scale):
            raise BadRow(f"guidance_scale is {row.guidance_scale}: {facts.name!r} makes no use of guidance")

    def _edit(self, row: Row, variant: int, link: Link, source: EditPath, instruction: str) -> DrawingSpec:
        section, facts = link.section, self.facts[link.name]
        # In a chain, a row's own settings are its first step's: the edits after it have the recipe's.
        own = self.generate is None and link is self.edits[0]
        decides = {
            "prompt": instruction,
            "seed": given_seed(row.seed, variant)
            if own and row.seed is not None
            else image_seed(section.seed, row.id, variant, instruction),
            "width": row.width if own else None,
            "height": row.height if own else None,
            "steps": (row.steps if own else None) or section.steps or facts.steps,
            "guidance_scale": _first(row.guidance_scale if own else None, section.guidance_scale, facts.guidance_scale),
            "negative_prompt": row.negative_prompt if own else None,
        }
        self._check(row if own else row._replace(negative_prompt=None, guidance_scale=None), decides, facts)
        start = source[-1].key if source else f"sha256:{row.image_hash}"
        inpaints = section.task == "inpaint"
        mask = {"mask_path": row.mask, "mask_hash": row.mask_hash} if inpaints else {}
        references = row.references if section.references else ()
        also = {"source": start, "mask": row.mask_hash if inpaints else None}
        also["references"] = [sha256 for _, sha256 in references] or None
        key = image_key("edit", facts.identity, {**decides, **also})
        given = {"source": start} if source else {"source_path": row.image, "source_hash": row.image_hash}
        return DrawingSpec(link.name, key, {**decides, **mask, **given, "references": references})

    def _row_key(self, row: Row, variant: int, way: EditPath) -> str:
        keys = [sketch.key for sketch in way]
        return digest([self.schema_key, row.id, variant, keys, row.prompt, row.carried])


def _own_size(row: Row, section: Generate, facts: ModelFacts) -> tuple[int | None, int | None]:
    """Width and height, in pixels, of a generated image whose row names no size, but perhaps a shape."""
    ratio = row.aspect_ratio or (section.aspect_ratio and parse_ratio(section.aspect_ratio))
    if not ratio:
        return section.width or facts.width, section.height or facts.height
    if not facts.buckets:
        raise BadRow(f"a shape is asked for, and the sizes of {facts.name!r} are not known: give width and height")
    return nearest(facts.buckets, ratio)


def _first(*values: float | None) -> float | None:
    for value in values:
        if value is not None:
            return value
    return None


def make_plan(
    recipe: Recipe,
    worklist: Worklist,
    folder: Folder,
    schema: DatasetSchema,
    models: Mapping[str, ModelFacts],
    known_failures: Mapping[str, SetAside],
) -> Plan:
    """Put every missing item into a shard of the worklist and return the sums. ``known_failures``: row key -> why it
    was set aside before; such a row is not tried again."""
    files, _ = folder.committed()
    for file in files:
        for columns in read_columns(folder.data / file.name, ["row_key", "id"]):
            worklist.add_finished(file.name, columns["row_key"], columns["id"])
    worklist.index_finished()

    make = RowPlanner(recipe, models, schema)
    rows = reused = failed = shard = filled = 0
    for requested in _chunks(worklist.rows(), CHUNK):
        groups: list[list[PlannedRow]] = []
        for row in requested:
            try:
                groups += list(make.wanted(row))
            except BadRow as error:
                failed += 1
                worklist.add_fault(SetAside("load", row.id, row.file, row.line, str(error)))
        finished = worklist.want([one.row_key for group in groups for one in group])
        for group in groups:
            rows += len(group)
            missing = [one for one in group if one.row_key not in finished]
            reused += len(group) - len(missing)
            asked = [one for one in missing if one.row_key not in known_failures]
            for one in missing:
                if one.row_key in known_failures:
                    worklist.add_fault(known_failures[one.row_key])
            failed += len(missing) - len(asked)
            if not asked:
                continue
            # An image that two rows ask for is drawn once, in one shard.
            home = worklist.shard_of(asked[0].way[0].key)
            if home is None:
                if filled and filled + len(asked) > recipe.shard_size:
                    shard, filled = shard + 1, 0
                home, filled = shard, filled + len(asked)
            for item in map(make.item, asked):
                worklist.add_planned_row(home, item, [models[step].name for step in item.steps])
    if rows > reused + failed:
        lossy = sum(find_images(worklist, folder.data / file.name, schema) for file in files)
        if lossy:
            raise RecipeError(would_regenerate(lossy, folder, files, schema))
    drawings, restorable = worklist.totals()
    return Plan(
        rows=rows,
        reused=reused,
        removed=worklist.count_unwanted(keep_removed=recipe.on_removed == "keep"),
        set_aside=failed,
        shards=shard + 1 if filled else 0,
        drawings=drawings,
        restorable=restorable,
    )


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, size)):
        yield chunk
