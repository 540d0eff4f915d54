"""The sheet's rows are spread over the dataset, and conversations and sweeps stay together."""

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.dataset.sheet.cells import read_cells
from imagemill.data.dataset.sheet.rows import FIRST_ROWS, MAX_READ, ROWS, choose_rows, read_images


def write(path: Path, rows: list[dict], row_group_size: int | None = None) -> Path:
    columns = [{**row, "image": {"bytes": str(number).encode(), "path": ""}} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(columns), path, row_group_size=row_group_size)
    return path


def edited(path: Path, rows: list[dict]) -> Path:
    images = {name: {"bytes": b"x", "path": ""} for name in ("input_image", "edited_image")}
    pq.write_table(pa.Table.from_pylist([{**row, **images} for row in rows]), path)
    return path


def prompts(groups):
    return [[fields["prompt"] for _, fields in group] for group in groups]


def test_rows_are_taken_from_the_first_to_the_last(tmp_path):
    path = write(tmp_path / "a.parquet", [{"prompt": f"{number}"} for number in range(1000)])
    numbers = [int(group[0]) for group in prompts(choose_rows([path]))]
    assert len(numbers) == ROWS
    assert (numbers[0], numbers[-1]) == (0, 999)
    steps = [after - before for before, after in pairwise(numbers)]
    assert max(steps) - min(steps) <= 1


def test_a_small_dataset_is_shown_as_a_whole(tmp_path):
    path = write(tmp_path / "a.parquet", [{"prompt": f"{number}"} for number in range(ROWS)])
    assert prompts(choose_rows([path])) == [[f"{number}"] for number in range(ROWS)]


def test_every_prompt_is_shown_once_whatever_its_images(tmp_path):
    rows = [{"prompt": f"{number // 4}", "variant": number % 4} for number in range(400)]
    groups = prompts(choose_rows([write(tmp_path / "a.parquet", rows)]))
    assert len({group[0] for group in groups}) == len(groups) == ROWS
    assert all(len(group) == 1 for group in groups)


def test_the_settings_of_a_sweep_stand_together(tmp_path):
    rows = [{"prompt": f"{number // 3}", "steps": (2, 4, 8)[number % 3]} for number in range(90)]
    groups = choose_rows([write(tmp_path / "a.parquet", rows)])
    assert len(groups) == ROWS // 3
    assert all([fields["steps"] for _, fields in group] == [2, 4, 8] for group in groups)
    assert groups[-1][0][1]["prompt"] == "29"


def test_a_large_sweep_leaves_place_for_other_prompts(tmp_path):
    rows = [{"prompt": f"{number // 50}", "seed": number % 50} for number in range(1000)]
    groups = choose_rows([write(tmp_path / "a.parquet", rows)])
    assert len(groups) == 6
    assert [fields["seed"] for _, fields in groups[0]] == [0, 16, 32, 49]


def test_a_dataset_of_one_prompt_fills_the_sheet(tmp_path):
    rows = [{"prompt": "a fox", "seed": number} for number in range(1000)]
    (group,) = choose_rows([write(tmp_path / "a.parquet", rows)])
    assert len(group) == ROWS


def test_a_conversation_is_shown_from_its_first_turn_in_order(tmp_path):
    rows = [{"prompt": f"{number}", "turn_index": turn} for number in range(50) for turn in range(1, 2 + number % 6)]
    groups = choose_rows([edited(tmp_path / "a.parquet", rows)])
    assert sum(map(len, groups)) <= ROWS
    assert len(groups) > 4
    for group in groups:
        assert [fields["turn_index"] for _, fields in group] == list(range(1, len(group) + 1))
        assert len({fields["prompt"] for _, fields in group}) == 1


@pytest.mark.parametrize("row_groups", [1, MAX_READ, MAX_READ + 1, 60])
def test_each_row_has_its_own_image_wherever_it_is(tmp_path, row_groups):
    paths, size = [], 100
    for file in range(2):
        rows = [{"prompt": f"{number}"} for number in range(row_groups * size)]
        paths.append(write(tmp_path / f"{file}.parquet", rows, size))
    places = [place for group in choose_rows(paths) for place, _ in group]
    assert {place.path for place in places} == set(paths)
    found = [int(images["image"]) for images in read_images(places)]
    assert found == [place.row_group * size + place.row for place in places]
    if 2 * row_groups > MAX_READ:
        assert max(place.row for place in places) < FIRST_ROWS


def test_an_empty_dataset_has_no_rows(tmp_path):
    assert choose_rows([]) == []
    assert choose_rows([write(tmp_path / "a.parquet", [{"prompt": "a"}])])


def test_a_cell_says_its_seed_and_what_differs(tmp_path):
    rows = [
        {"prompt": "a", "seed": 7, "steps": 4, "guidance_scale": 3.5, "model": "m", "width": 64, "height": 64},
        {"prompt": "b", "seed": 8, "steps": 8, "guidance_scale": 3.5, "model": "m", "width": 64, "height": 96},
    ]
    cells = [cell for group in read_cells([write(tmp_path / "a.parquet", rows)]) for cell in group]
    assert [cell.facts for cell in cells] == ["seed 7 · 4 steps · 64 x 64", "seed 8 · 8 steps · 64 x 96"]
    assert [cell.images for cell in cells] == [[("a", b"0")], [("b", b"1")]]


def test_a_cell_of_a_conversation_says_its_turn(tmp_path):
    rows = [{"prompt": "a", "edit_prompt": f"{turn}", "turn_index": turn, "seed": 5} for turn in (1, 2)]
    (group,) = read_cells([edited(tmp_path / "a.parquet", rows)])
    assert [cell.facts for cell in group] == ["turn 1 · seed 5", "turn 2 · seed 5"]
    assert [text for text, _ in group[1].images] == ["a", "2"]
