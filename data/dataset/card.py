"""Dataset card: README.md with the metadata that the Hugging Face Hub reads, and the code that opens the dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from imagemill.data.config.chain import generate_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.carried.features import card_feature
from imagemill.data.dataset.describe.card_notes import CardNotes
from imagemill.data.dataset.files.shard_files import DATA_FILES
from imagemill.data.dataset.published import public_path
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.messages import code_span, markdown_text
from imagemill.data.records import ModelFacts

FROM_THE_HUB = 'Once it is on the Hub as `org/name`, `load_dataset("org/name")` opens it.'
"""Below the code that opens the dataset in its folder."""

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)

_FORMS = {
    "json": "each value is JSON text, since the values have no type in common",
    "mixed": "a text is itself, and any other value is its JSON text",
}
_OTHER = "a JSON object of the row's values that do not fit into the types of their columns, which are null there"


def size_category(rows: int) -> str:
    """The Hub's size category for a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1T")


def dataset_card(
    recipe: Recipe,
    schema: DatasetSchema,
    manifest: Mapping[str, Any],
    models: Mapping[str, ModelFacts],
    licences: Sequence[str],
    notes: CardNotes | None = None,
) -> str:
    """The card's text. ``licences``: of the models, in their order."""
    notes = notes or CardNotes()
    features = [{"name": field.name, **card_feature(field.type)} for field in schema.arrow()]
    head = {
        "pretty_name": recipe.name,
        # The models' licences govern the images; the user chooses the dataset's.
        "license": "other",
        "license_name": "see-the-models",
        **notes.head(),
        "task_categories": ["text-to-image"] * bool(generate_of(recipe)) + ["image-to-image"] * schema.edits,
        "size_categories": [size_category(manifest["rows"])],
        "tags": ["synthetic", "imagemill"],
        "dataset_info": {"features": features},
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }
    listed = "\n".join(
        f"- {step}: {code_span(facts.name)}, {_weights(facts)}, licence: {markdown_text(licence)}"
        for (step, facts), licence in zip(models.items(), licences, strict=True)
    )
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {recipe.name}

{manifest["rows"]:,} rows of images made by diffusion models, built with imagemill.

![A few rows of the dataset](contact_sheet.jpg)

```python
from datasets import load_dataset

rows = load_dataset("parquet", data_files="{DATA_FILES}", split="train")
rows[0]["{schema.image_columns[-1]}"].show()
```

{FROM_THE_HUB}

## Where it comes from

{listed}
- prompts: {code_span(public_path("prompts", recipe.prompts) or recipe.rows_from)}
- fingerprint: `{manifest["fingerprint"]}`

`manifest.json` has the whole recipe, the versions and the checksums. Each row has the model, seed, steps and size that
generated it, and the sha256 of its image. The images' own metadata say so too, in the fields of IPTC and AUTOMATIC1111.
{notes.body()}{_text_columns(schema)}"""


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
