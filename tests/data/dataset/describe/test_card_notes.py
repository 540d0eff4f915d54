"""The card says what the rows say: languages, formats, and that machines wrote the annotations."""

import pytest

from imagemill.data.dataset.describe.card_notes import MAX_TEXTS, CardNotes, card_notes
from imagemill.data.dataset.parquet import write_rows


def written(path, schema, row, prompts, file="a.png"):
    image = {**row["image"], "path": file}
    write_rows(path, schema, [{**row, "image": image, "prompt": prompt} for prompt in prompts])
    return path


def test_languages_and_formats_are_those_of_all_files(tmp_path, schema, dataset_rows):
    paths = [
        written(tmp_path / "a.parquet", schema, dataset_rows[0], ["a fox in the snow", None, "a kite"], "a.png"),
        written(tmp_path / "b.parquet", schema, dataset_rows[0], ["一只红色的狐狸"], "b.jpeg"),
    ]
    notes = card_notes(paths)
    assert notes == CardNotes(("en", "zh"), (("png", 3), ("jpeg", 1)))
    assert notes.head() == {"language": ["en", "zh"], "annotations_creators": ["machine-generated"]}
    assert "several formats: png in 3 rows, jpeg in 1 row." in notes.body()


def test_one_format_and_no_known_language_need_no_words(tmp_path, schema, dataset_rows):
    notes = card_notes([written(tmp_path / "a.parquet", schema, dataset_rows[0], ["8k"])])
    assert notes == CardNotes((), (("png", 1),))
    assert notes.body() == ""
    assert notes.head() == {"annotations_creators": ["machine-generated"]}


@pytest.mark.slow
def test_of_many_prompts_a_spread_is_looked_at(tmp_path, schema, dataset_rows):
    prompts = ["a fox in the snow"] * MAX_TEXTS + ["一只红色的狐狸"] * MAX_TEXTS
    paths = [written(tmp_path / "a.parquet", schema, dataset_rows[0], prompts)]
    assert set(card_notes(paths).languages) == {"en", "zh"}
    assert card_notes([]) == CardNotes()
