"""The dataset card has the metadata that the Hub reads, in agreement with the files."""

import io

import pytest
import yaml
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.card import dataset_card
from imagemill.data.dataset.describe.card_notes import CardNotes
from imagemill.data.dataset.describe.split_sizes import size_category, split_sizes, with_split_sizes
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.dataset.sheet.contact_sheet import contact_sheet
from imagemill.data.dataset.sheet.rows import ROWS
from imagemill.data.images.codec import Encoding
from imagemill.data.records import ModelFacts
from imagemill.data.scores.funnel import Funnel
from imagemill.data.scores.records import ScorerFacts

FACTS = ModelFacts("m", "abc", {}, 64, 64, 4, None, 8, False)


def card_of(schema, **fields):
    recipe = load_recipe({"prompts": "prompts: odd #1.jsonl", "name": "night-1", **fields})
    models = {step: FACTS for step in ("generate", "edit") if getattr(recipe, step)}
    text = dataset_card(recipe, schema, {"rows": 1632, "fingerprint": "f" * 64}, models, ["Apache-2.0"] * len(models))
    assert text.startswith("---\n")
    head, body = text[4:].split("---\n", 1)
    return yaml.safe_load(head), body


def test_the_head_has_what_the_hub_reads(schema):
    head, body = card_of(schema, generate={})
    assert head["license"] == "other"
    assert head["pretty_name"] == "night-1"
    assert head["task_categories"] == ["text-to-image"]
    assert head["size_categories"] == ["1K<n<10K"]
    assert "synthetic" in head["tags"]
    assert head["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]
    assert "1,632 rows" in body
    assert "- generate: `m`, revision `abc`, licence: Apache-2.0" in body
    assert "f" * 64 in body


def test_the_rows_and_bytes_of_each_split_are_in_the_text_and_follow_the_manifest():
    names = ["train-00000-00000000.parquet", "train-00001-00000000.parquet", "test-00000-00000000.parquet"]
    files = [{"name": name, "rows": 1_000, "bytes": 2_000_000} for name in names]
    table = split_sizes({"files": files})
    assert "| train | 2,000 | 4,000,000 |" in table
    assert "| test | 1,000 | 2,000,000 |" in table
    card = f"before\n{table}\nafter"
    again = with_split_sizes(card, {"files": files[:1]})
    assert "| train | 1,000 | 2,000,000 |\n\nafter" in again
    assert "test" not in again
    assert with_split_sizes("a card of before", {"files": files}) == "a card of before"
    assert split_sizes({}) == ""


def test_its_features_are_the_files_columns(schema):
    head, _ = card_of(schema, generate={})
    features = {feature["name"]: feature["dtype"] for feature in head["dataset_info"]["features"]}
    assert list(features) == schema.arrow().names
    assert features["image"] == "image"
    assert (features["prompt"], features["seed"], features["steps"], features["score"]) == (
        "string",
        "int64",
        "int32",
        "float64",
    )


def test_an_edit_dataset_is_image_to_image():
    schema = DatasetSchema(chained=True, edits=True, encoding=Encoding("png"), carried={})
    head, _ = card_of(schema, generate={}, edit={"instructions": ["a"]})
    assert head["task_categories"] == ["text-to-image", "image-to-image"]
    schema = DatasetSchema(chained=False, edits=True, encoding=Encoding("png"), carried={})
    assert card_of(schema, edit={"instructions": ["a"]})[0]["task_categories"] == ["image-to-image"]


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B"), (10**12, "n>1T")],
)
def test_sizes_have_the_hubs_names(rows, name):
    assert size_category(rows) == name


def test_the_contact_sheet_shows_up_to_24_rows(tmp_path, schema, dataset_rows):
    write_rows(tmp_path / "a.parquet", schema, dataset_rows)
    sheet = Image.open(io.BytesIO(contact_sheet([tmp_path / "a.parquet"]))).convert("RGB")
    red = sum(count for count, (r, g, b) in sheet.getcolors(2**20) if r > 240 and g < 15 and b < 15)
    assert red > 100 * 100
    many = [{**dataset_rows[0], "row_key": str(number)} for number in range(ROWS + 5)]
    write_rows(tmp_path / "b.parquet", schema, many)
    assert Image.open(io.BytesIO(contact_sheet([tmp_path / "b.parquet"]))).height > sheet.height


def test_the_contact_sheet_of_an_empty_dataset_is_an_image():
    assert Image.open(io.BytesIO(contact_sheet([]))).format == "JPEG"


def test_the_contact_sheet_shows_rows_without_a_prompt(tmp_path, schema, dataset_rows):
    write_rows(
        tmp_path / "a.parquet", schema, [{**dataset_rows[0], "prompt": None}, {**dataset_rows[1], "prompt": "狐" * 900}]
    )
    assert Image.open(io.BytesIO(contact_sheet([tmp_path / "a.parquet"]))).width > 200


def test_the_card_names_scorers_and_the_funnel_of_a_dataset_that_chooses(schema):
    recipe = load_recipe({"prompts": "prompts.jsonl", "name": "night", "generate": {}})
    scorer = ScorerFacts("fits", "similarity", {}, frozenset(["text"]), "bundled-clip", "abc", "Apache-2.0", None)
    lines = Funnel(candidates=4, kept=1, rejected=3, not_best=3).lines()
    card = dataset_card(recipe, schema, {"rows": 1, "fingerprint": "f"}, {}, [], [scorer], lines)
    assert "- scorer `fits`: similarity, `bundled-clip`, revision `abc`, licence: Apache-2.0" in card
    assert "## Selection\n\n```\ncandidates             4\nnot best" in card
    assert "## Selection" not in card_of(schema, generate={})[1]


def test_the_notes_on_the_rows_are_in_the_head_and_below(schema):
    recipe = load_recipe({"prompts": "prompts.jsonl", "name": "night-1", "generate": {}})
    notes = CardNotes(("en", "zh"), (("png", 5), ("jpeg", 3)))
    text = dataset_card(recipe, schema, {"rows": 8, "fingerprint": "f"}, {"generate": FACTS}, ["MIT"], notes=notes)
    head, body = text[4:].split("---\n", 1)
    assert yaml.safe_load(head)["language"] == ["en", "zh"]
    assert yaml.safe_load(head)["annotations_creators"] == ["machine-generated"]
    assert "several formats: png in 5 rows, jpeg in 3 rows" in body
    assert 'load_dataset("org/name")' in body


def test_the_card_of_given_images_calls_them_neither_generated_nor_synthetic():
    recipe = load_recipe({"prompts": "photos", "name": "photos", "duplicates": {"by": "phash"}})
    text = dataset_card(recipe, DatasetSchema.of(recipe, {}), {"rows": 1, "fingerprint": "f"}, {}, [])
    head, body = text[4:].split("---\n", 1)
    assert yaml.safe_load(head)["tags"] == ["imagemill"]
    assert "images that were given" in body
    assert "Nothing was generated" in body
    assert "diffusion" not in body
