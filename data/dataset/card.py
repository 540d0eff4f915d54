"""Dataset card: README.md with the metadata that the Hugging Face Hub reads, and the code that opens the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import yaml

from imagemill.data.config.chain import generate_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.config.step_models import base_step
from imagemill.data.dataset.carried.features import card_feature
from imagemill.data.dataset.describe.card_notes import CardNotes
from imagemill.data.dataset.describe.language_models import language_models
from imagemill.data.dataset.describe.split_sizes import size_category, split_sizes, with_split_sizes
from imagemill.data.dataset.files.area import files_of
from imagemill.data.dataset.files.shard_files import DATA_FILES, TRAIN, splits_among
from imagemill.data.dataset.published import public_path
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.messages import code_span, markdown_text
from imagemill.data.records import ModelFacts

FROM_THE_HUB = 'Once it is on the Hub as `org/name`, `load_dataset("org/name")` opens it.'

_FORMS = {
    "json": "each value is JSON text, since the values have no type in common",
    "mixed": "a text is itself, and any other value is its JSON text",
}
_OTHER = "a JSON object of the row's values that do not fit into the types of their columns, which are null there"


class ListedScorer(Protocol):
    """Entry of a scorer on the card (data.scores.records.ScorerFacts)."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def model(self) -> str | None: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def licence(self) -> str: ...


def dataset_card(
    recipe: Recipe,
    schema: DatasetSchema,
    manifest: Mapping[str, Any],
    models: Mapping[str, ModelFacts],
    licences: Sequence[str],
    scorers: Sequence[ListedScorer] = (),
    funnel: Sequence[str] = (),
    notes: CardNotes | None = None,
) -> str:
    """The card's text. ``licences``: of the models, in their order; ``scorers``: those with a model, or all.

    ``funnel``: what became of the candidates, a line each.
    """
    notes = notes or CardNotes()
    head = {
        "pretty_name": recipe.name,
        # The models' licences govern the images; the user chooses the dataset's.
        "license": "other",
        "license_name": "see-the-models",
        **({} if schema.is_given else notes.head()),
        "task_categories": ["text-to-image"] * bool(generate_of(recipe)) + ["image-to-image"] * schema.edits,
        "size_categories": [size_category(manifest["rows"])],
        "tags": ["imagemill"] if schema.is_given else ["synthetic", "imagemill"],
        "dataset_info": {"features": _features(schema)},
        "configs": card_configs(manifest),
    }
    listed = "\n".join(
        f"- {base_step(step)}: {code_span(facts.name)}, {_weights(facts)}, licence: {markdown_text(licence)}"
        for (step, facts), licence in zip(models.items(), licences, strict=True)
    )
    listed += "".join(f"\n- scorer {_scorer(scorer)}" for scorer in scorers)
    listed += language_models(recipe, manifest.get("pinned", {}))
    opened, files, rows = _example(manifest)
    kind = "that were given" if schema.is_given else "made by diffusion models"
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {recipe.name}

{manifest["rows"]:,} rows of images {kind}, built with imagemill.
{split_sizes(manifest)}
![A few rows of the dataset](contact_sheet.jpg)

```python
from datasets import load_dataset

{opened} = load_dataset("parquet", {files})
{rows}[0]["{schema.image_columns[-1]}"].show()
```

{FROM_THE_HUB}

## Origin

{listed.lstrip()}
- prompts: {code_span(public_path("prompts", recipe.prompts) or recipe.rows_from)}
- fingerprint: `{manifest["fingerprint"]}`

`manifest.json` has the whole recipe, the versions and the checksums. {_GIVEN if schema.is_given else _GENERATED}
{"" if schema.is_given else notes.body()}{_funnel(funnel)}{_text_columns(schema)}{card_folders(manifest)}"""


_GENERATED = (
    "Each row has the model, seed, steps and size that\ngenerated it, and the sha256 of its image. The images' own "
    "metadata say so too, in the fields of IPTC and AUTOMATIC1111."
)

_GIVEN = "Nothing was generated: each row has an\nimage as it was given, and its sha256."


def card_configs(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entry ``configs`` of a card's head: data/, and rejected/ and pairs/ where the manifest lists files there."""
    configs = [{"config_name": "default", "data_files": _data_files(manifest, "data")}]
    others = [name for name in ("rejected", "pairs") if files_of(manifest, name)]
    return configs + [{"config_name": name, "data_files": _data_files(manifest, name)} for name in others]


def _data_files(manifest: Mapping[str, Any], folder: str) -> list[dict[str, str]]:
    splits = _splits(manifest, folder) if folder != "pairs" else [TRAIN]
    if splits == [TRAIN]:
        return [{"split": TRAIN, "path": f"{folder}/*.parquet"}]
    return [{"split": split, "path": f"{folder}/{split}-*.parquet"} for split in splits]


def _splits(manifest: Mapping[str, Any], folder: str = "data") -> list[str]:
    return splits_among(file["name"] for file in files_of(manifest, folder)) or [TRAIN]


def _example(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    """Name for what load_dataset returns, the arguments with which it opens data/, and the rows of one split."""
    splits = _splits(manifest)
    if splits == [TRAIN]:
        return "rows", f'data_files="{DATA_FILES}", split="train"', "rows"
    files = ", ".join(f'"{split}": "data/{split}-*.parquet"' for split in splits)
    return "splits", f"data_files={{{files}}}", f'splits["{splits[0]}"]'


_FOLDERS = {
    "rejected": "candidates that were not chosen, with the reason in `rejected_by`",
    "pairs": "preference pairs: the better and the worse of two candidates",
    "scores": "scores of all candidates, by the sha256 of their images",
    "answers": "answers of language models, as they were given",
}

_BEGIN, _END = "<!-- folders beside data -->", "<!-- end of folders -->"


def card_folders(manifest: Mapping[str, Any]) -> str:
    """The section on the folders beside data/; empty where the manifest lists none."""
    lines = [
        f"- `{name}/`: {manifest[name]['rows']:,} rows: {what}"
        for name, what in _FOLDERS.items()
        if files_of(manifest, name)
    ]
    return f"\n{_BEGIN}\n## Beside the dataset\n\n" + "\n".join(lines) + f"\n{_END}\n" if lines else ""


def card_of_part(card: str, manifest: Mapping[str, Any]) -> str:
    """A card for a copy of the dataset that has only what this manifest lists."""
    fields, body = _split_card(card)
    head = "" if fields is None else _head({**fields, "configs": card_configs(manifest)})
    before, begin, after = body.partition(f"\n{_BEGIN}\n")
    return head + (before + card_folders(manifest) + after.partition(f"{_END}\n")[2] if begin else body)


def card_with_scores(
    card: str, schema: DatasetSchema, manifest: Mapping[str, Any], scorers: Sequence[ListedScorer]
) -> str:
    """A card with the columns of ``schema``, and with these scorers; the rest of its text stays."""
    head, body = _split_card(card)
    if head is None:
        return card
    head |= {"dataset_info": {"features": _features(schema)}, "configs": card_configs(manifest)}
    lines = body.splitlines(keepends=True)
    names = tuple(f"- scorer {code_span(scorer.name)}:" for scorer in scorers)
    lines = [line for line in lines if not line.startswith(names)] if names else lines
    place = next((number for number, line in enumerate(lines) if line.startswith("- prompts: ")), None)
    if place is not None:
        lines[place:place] = [f"- scorer {_scorer(scorer)}\n" for scorer in scorers]
    before, _, after = with_split_sizes("".join(lines), manifest).partition(f"\n{_BEGIN}\n")
    return _head(head) + before + card_folders(manifest) + after.partition(f"{_END}\n")[2]


def _split_card(card: str) -> tuple[dict[str, Any] | None, str]:
    """A card's head and the text after it; None for a card that has none."""
    if not card.startswith("---\n") or "\n---\n" not in card:
        return None, card
    head, body = card.removeprefix("---\n").split("\n---\n", 1)
    fields = yaml.safe_load(head)
    return (fields, body) if isinstance(fields, dict) else (None, card)


def _head(fields: Mapping[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True)}---\n"


def _features(schema: DatasetSchema) -> list[dict[str, Any]]:
    return [{"name": field.name, **card_feature(field.type)} for field in schema.arrow()]


def _scorer(scorer: ListedScorer) -> str:
    if scorer.model is None:
        return f"{code_span(scorer.name)}: {scorer.kind}"
    # No chat API reports the weights that it serves.
    version = f"revision {code_span(scorer.revision)}" if scorer.revision else "weights of an unknown version"
    licence = f"licence: {markdown_text(scorer.licence)}"
    return f"{code_span(scorer.name)}: {scorer.kind}, {code_span(scorer.model)}, {version}, {licence}"


def _funnel(lines: Sequence[str]) -> str:
    """A section on how the images were chosen; empty for a dataset whose images were not."""
    text = "\n".join(lines)
    return f"\n## Selection\n\n```\n{text}\n```\n" if lines else ""


def _text_columns(schema: DatasetSchema) -> str:
    """A section on the carried columns whose texts are not what they look like; empty without such a column."""
    lines = [f"- {code_span(name)}: " + _FORMS[kind] for name, kind in schema.carried.items() if kind in _FORMS]
    if schema.other:
        lines.append(f"- {code_span(schema.other)}: {_OTHER}")
    return "\n## Columns that hold JSON\n\n" + "\n".join(lines) + "\n" if lines else ""


def _weights(facts: ModelFacts) -> str:
    """The version of the model's weights, as far as it is known."""
    if facts.identity.get("backend") == "openai":
        version = f"as revision {code_span(facts.revision)}" if facts.revision else "with weights of an unknown version"
        return f"served by an images API {version}"
    return f"revision {code_span(str(facts.revision))}"
