"""Built images say how they were generated, in their own files, and the same however the build went."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.images.codec import ENCODING_VERSION
from imagemill.data.images.provenance.texts import Provenance, read_provenance
from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from tests.commands import Run
from tests.conftest import ROOT, Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of

Report = Callable[..., tuple[int, dict[str, Any]]]

COMPOSITE, GENERATED = ("digitalsourcetype/compositeWithTrained", "digitalsourcetype/trained")


def texts(output: str, column: str) -> list[Provenance]:
    return [read_provenance(row[column]["bytes"], row["id"]) for row in rows_of(output)]


def test_generated_images_and_their_edits_name_sampler_model_and_source_type(built: dict[str, Any]):
    for column in ("input_image", "edited_image"):
        for parameters, xmp in texts(built["output"], column):
            assert "\nSteps: 1, Sampler: Euler, CFG scale: " in parameters
            assert ", Model: random, " in parameters
            assert GENERATED in xmp
            assert "<Iptc4xmpExt:AISystemUsed>random<" in xmp
            assert "<Iptc4xmpExt:AISystemVersionUsed>" in xmp
    assert "<Iptc4xmpExt:AIPromptInformation>make it red<" in texts(built["output"], "edited_image")[0].xmp


def test_edits_of_given_images_are_composites_in_every_turn_and_are_regenerated_so(
    build: Build, fields: dict[str, Any], cluster: str
):
    del fields["generate"]
    fields |= {"prompts": str(ROOT / "data" / "samples" / "conversations.jsonl")}
    fields["edit"] |= {"multi_turn": True, "instructions": []}
    build(fields)
    edited = texts(fields["output"], "edited_image")
    assert max(row["turn_index"] for row in rows_of(fields["output"])) > 1
    assert all(COMPOSITE in xmp for _, xmp in edited)
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(fields["output"], regenerate=4)["bit_equal"] == 4


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_a_grown_dataset_of_an_earlier_encoding_version_has_the_bytes_of_one_built_at_once(
    build: Build, fields: dict[str, Any], cluster: str, tmp_path: Path, image_format: str
):
    fields |= {"image_format": image_format}
    prompts = ["a fox", "a kite", "a ring", "a star"]
    runs = []
    for name, parts in (("grown", (2, 4)), ("at once", (4,))):
        output = str(tmp_path / name)
        with Folder(output).lock("small"):
            Folder(output).repin("encoding_version", 1)
        for count in parts:
            write_prompts(Path(fields["prompts"]), prompts[:count])
            figures = build(fields | {"output": output})
        runs.append(figures["fingerprint"])
        assert not any(b"AISystemUsed" in row["edited_image"]["bytes"] for row in rows_of(output))
        flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
        assert flow(output, regenerate=2)["bit_equal"] == 2
    assert runs[0] == runs[1]
    # Another version has other bytes and the same images.
    newest = build(fields | {"output": str(tmp_path / "newest")})
    assert newest["fingerprint"] != runs[0]
    keys = [{row["image_key"] for row in rows_of(str(tmp_path / name))} for name in ("grown", "newest")]
    assert keys[0] == keys[1]


def pin_version(output: str, version: int) -> None:
    manifest = Path(output) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["pinned"]["encoding_version"] = version
    manifest.write_text(json.dumps(content))


def test_files_of_another_encoding_version_are_verified_by_their_pixels(
    mine: dict[str, Any], cluster: str, report: Report
):
    pin_version(mine["output"], 1)
    code, found = report("verify", mine["output"], "--regenerate", "2", "--cluster", cluster)
    assert (code, found["good"]) == (0, True)
    assert [row["result"] for row in found["not_bit_equal"]] == ["pixel-equal"] * 2


def test_verify_says_that_a_dataset_has_a_later_encoding_version(
    mine: dict[str, Any], cluster: str, report: Report, imagemill: Run
):
    pin_version(mine["output"], 99)
    code, found = report("verify", mine["output"], "--regenerate", "1", "--cluster", cluster)
    assert (code, found["good"], found["regenerated"]) == (0, True, 1)
    assert found["differing"] == {"encoding_version": [99, ENCODING_VERSION]}
    text = imagemill("verify", mine["output"], "--regenerate", "1", "--cluster", cluster)[1]
    assert f"encoding_version: {ENCODING_VERSION} now, 99 in the manifest" in text


def test_a_dataset_of_an_earlier_encoding_version_that_begins_to_choose_goes_on_with_it(
    build: Build, fields: dict[str, Any], cluster: str
):
    fields |= {"image_format": "jpeg"}
    with Folder(fields["output"]).lock("small"):
        Folder(fields["output"]).repin("encoding_version", 1)
    build(fields)
    before = {row["sha256"] for row in rows_of(fields["output"])}
    fields["generate"] |= {"select": {"of": 2, "best": "sharp"}}
    fields["edit"] |= {"select": {"of": 2, "best": "sharp"}}
    build(fields | {"scorers": {"sharp": {"kind": "pixels", "measure": "sharpness"}}})
    rows = rows_of(fields["output"]) + rows_of(fields["output"], "rejected")
    assert before <= {row["sha256"] for row in rows}
    images = [row[column] for row in rows for column in ("input_image", "edited_image") if row[column]]
    assert len(images) > len(rows)
    assert not any(b"AISystemUsed" in image["bytes"] for image in images)
    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    report = flow(fields["output"], regenerate=4)
    assert report["bit_equal"] == report["regenerated"] == 4


def test_chosen_edits_of_given_images_are_composites(build: Build, fields: dict[str, Any]):
    del fields["generate"]
    fields |= {"prompts": str(ROOT / "data" / "samples" / "conversations.jsonl")}
    fields["edit"] |= {"multi_turn": True, "instructions": [], "select": {"of": 2, "best": "sharp"}}
    build(fields | {"scorers": {"sharp": {"kind": "pixels", "measure": "sharpness"}}})
    rows = rows_of(fields["output"]) + rows_of(fields["output"], "rejected")
    assert all(COMPOSITE in read_provenance(row["edited_image"]["bytes"], row["id"]).xmp for row in rows)
