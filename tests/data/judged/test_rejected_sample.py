"""A sample to regenerate takes rejected rows too: an image that was rejected before its edit is generated alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import make_manifest, write_manifest
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.reader import find_finished
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.images.codec import Encoding
from imagemill.data.records import ModelFacts
from imagemill.data.verify.sampling import Sampled, sample_rows

FACTS = ModelFacts("bundled", "abc", {"files": "abc"}, 8, 6, 4, None, 2, False)


@pytest.fixture
def chain(tmp_path: Path, dataset_rows: list[dict[str, Any]]) -> Folder:
    """A row of the dataset, and of its other candidates one without an edit, and one that has lost its image."""
    schema = DatasetSchema(True, True, Encoding("png"), {}, outcomes=(OutcomeColumn("candidate", "int"),))
    edited = [
        {
            **{name: value for name, value in row.items() if name != "image"},
            "input_image": row["image"],
            "input_key": row["image_key"],
            "input_sha256": row["sha256"],
            "edited_image": row["image"],
            "edit_prompt": "make it red",
            "edit_seed": 1,
            "edit_batch_size": 1,
        }
        for row in dataset_rows
    ]
    unedited = {**edited[1], "edited_image": None, "edit_prompt": None, "image_key": None, "sha256": None}
    lost = {**edited[2], "input_image": None, "edited_image": None}
    folder = Folder(tmp_path / "out")
    recipe = load_recipe({"name": "small", "prompts": "p", "output": str(folder.root), "generate": {}, "edit": {}})
    with folder.lock("small"):
        scratch = folder.scratch("x.parquet")
        folder.commit(scratch, 0, write_rows(scratch, schema, edited[:1]))
        rejected = write_rows(scratch, schema.rejected(), [unedited, lost])
        folder.commit(scratch, 0, rejected, area="rejected")
        facts = {"generate": FACTS, "edit": FACTS}
        write_manifest(folder, make_manifest(folder, recipe, folder.committed()[0], facts, []))
    return folder


def sample(folder: Folder, given: Path) -> list[Sampled]:
    given.mkdir()
    return list(sample_rows(folder, find_finished(folder.root)[1], 10, 0, given))


def test_a_rejected_image_without_an_edit_is_generated_alone_and_a_lost_one_is_left_out(
    chain: Folder, dataset_rows: list[dict[str, Any]], tmp_path: Path
):
    whole, unedited = sample(chain, tmp_path / "given")
    assert (whole.id, whole.final) == ("row-0", whole.edit)
    assert (unedited.id, unedited.edit, unedited.final) == ("row-1", None, unedited.generate)
    assert unedited.content == dataset_rows[1]["image"]["bytes"]
    assert (unedited.generate.key, unedited.generate.width, unedited.generate.height) == (f"{1:032x}", 8, 6)
