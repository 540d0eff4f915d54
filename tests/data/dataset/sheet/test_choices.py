"""The contact sheet of a dataset that chooses has scores, and a rejected image beside the one that was chosen."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.sheet.cells import read_cells
from imagemill.data.dataset.sheet.choices import Choices


def write(path: Path, rows: list[dict]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


def image(text: str | None) -> dict | None:
    return {"bytes": text.encode(), "path": ""} if text else None


def row(name: str, score: float | None, content: str | None, **fields) -> dict:
    return {"id": name, "prompt": f"a {name}", "score_fits": score, "image": image(content), **fields}


def test_each_row_has_its_score_and_the_lowest_of_its_rejected_images_beside_it(tmp_path: Path):
    data = write(tmp_path / "data.parquet", [row("fox", 0.9, "best"), row("kite", 0.8, "only")])
    others = [
        row("kite", None, "unscored"),
        row("fox", 0.7, "middle"),
        row("fox", 0.2, "worst"),
        row("fox", 0.5, "other"),
        row("ring", 0.1, "of another row"),
    ]
    rejected = write(tmp_path / "rejected.parquet", [{**other, "rejected_by": "not best"} for other in others])
    (fox,), (kite,) = read_cells([data], Choices("score_fits", [rejected]))
    assert fox.images == [("a fox", b"best"), ("rejected, fits 0.200", b"worst")]
    assert fox.facts == "fits 0.900"
    assert kite.images == [("a kite", b"only")]


def test_an_input_that_was_chosen_has_a_rejected_input_beside_it(tmp_path: Path):
    def edit(score: float, before: str, after: str | None, **fields) -> dict:
        images = {"input_image": image(before), "edited_image": image(after)}
        return {"id": "fox", "prompt": "a fox", "edit_prompt": "x", "input_score_fits": score, **images, **fields}

    data = write(tmp_path / "data.parquet", [edit(0.9, "before", "after")])
    lost = pa.Table.from_pylist([edit(0.3, "lost", None, rejected_by="not best")])
    lost = lost.set_column(
        lost.column_names.index("edited_image"),
        "edited_image",
        pa.nulls(1, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    )
    pq.write_table(lost, tmp_path / "rejected.parquet")
    ((cell,),) = read_cells([data], Choices("input_score_fits", [tmp_path / "rejected.parquet"]))
    assert [content for _, content in cell.images] == [b"before", b"after", b"lost"]
    assert cell.facts == "fits 0.900"
