"""Builds in one process, without a model and without Prefect's engine: every step of the product that writes.

python -m tests.faults.plain_build REQUEST, with the shim loaded: builds for each point in a forked process with a fault
there, then in another without. It prints a line of JSON with what came of both.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.attempts import record_attempt
from imagemill.data.dataset.files import compaction
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import read_rows
from imagemill.data.errors import BuildFailed, ImagemillError
from imagemill.data.images.codec import decode_image
from imagemill.data.planning.reuse import restore_images
from imagemill.data.planning.worklist import Worklist
from imagemill.data.records import Drawing
from imagemill.data.staging.in_flight import InFlight
from imagemill.data.staging.store import Generated, StageRequest, Staging
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.models.job import Job
from imagemill.tasks.build_context import Build, make_build, resolve_models
from imagemill.tasks.load_prompts import load_prompts
from imagemill.tasks.pinned import pin_recipe
from imagemill.tasks.plan_shards import plan_shards
from imagemill.tasks.publish import publish
from imagemill.tasks.write_parquet import write_parquet
from tests.faults.shim import Faults

CONSTANTS = {"SMALL_BYTES": 40_000, "FILE_BYTES": 60_000}
"""Of data.dataset.files.compaction: files are merged while a build runs, and at its end."""


def plain_build(fields: Mapping[str, Any], log: Path) -> str:
    """Build a dataset; returns its fingerprint. ``log`` gets a line with the key of each image that is generated."""
    recipe = load_recipe(dict(fields))
    folder, models = Folder(recipe.output), resolve_models(recipe)
    with explain_disk_errors(folder.disk), folder.lock(recipe.name):
        record_attempt(folder, "run")
        recipe = pin_recipe(recipe, models, folder.pin)
        build = make_build(recipe, models, load_prompts.fn(recipe))
        plan = plan_shards.fn(build)
        merger = compaction.Merger(folder, build.first_file)
        for number in range(plan.shards):
            _build_shard(build, number, merger, log)
        manifest = publish.fn(build, [], ["cpu"]).manifest
        folder.add_run({"fingerprint": manifest["fingerprint"]})
        folder.clear_work()
    return manifest["fingerprint"]


def _build_shard(build: Build, number: int, merger: compaction.Merger, log: Path) -> None:
    with Worklist.open(build.folder.plan) as worklist:
        plans, restorable = worklist.shard(number), worklist.restorable(number)
    restore_images(build.folder, build.schema, plans, restorable)
    for step, turn in build.turns(plans):
        _generate(build.job(step, turn, plans, without={}), log)
    file, _ = write_parquet.fn(build, number, str(number), plans, {})
    merger.add(build.first_file + number, file)


def _generate(job: Job, log: Path) -> None:
    """As a worker does it, in batches of two."""
    staging = Staging(Path(job.staging))
    missing = staging.missing(job.drawings, job.encodings)
    in_flight = InFlight(staging.folder, "run", [drawing.key for drawing in job.drawings])
    in_flight.crashes()
    for start in range(0, len(missing), 2):
        batch = missing[start : start + 2]
        with in_flight.mark([drawing.key for drawing in batch]):
            images = [_image(drawing, staging) for drawing in batch]
            with open(log, "a", encoding="utf-8") as lines:
                lines.writelines(f"{drawing.key}\n" for drawing in batch)
        generated = Generated(job.spec.name, 2, "cpu")
        staging.stage(
            [
                StageRequest(image, drawing, job.encodings[drawing.key], generated)
                for image, drawing in zip(images, batch, strict=True)
            ]
        )
    in_flight.clear()


def _image(drawing: Drawing, staging: Staging) -> Image.Image:
    shade = drawing.seed % 251
    if drawing.source:
        found = staging.read(drawing.source, "png")
        if found is None:
            raise BuildFailed(f"the source {drawing.source} is not staged")
        shade = (shade + decode_image(found[0], drawing.source).getpixel((0, 0))[0]) % 251
    return Image.new("RGB", (drawing.width or 64, drawing.height or 64), (shade, 90, 200))


def in_child(fields: Mapping[str, Any], log: Path, told: Path) -> int:
    """Build in a forked process; returns its exit code. ``told`` gets the fingerprint, the message or the traceback."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 3
    try:
        told.write_text(plain_build(fields, log))
        code = 0
    except ImagemillError as error:
        told.write_text(str(error))
        code = 1
    except BaseException:  # noqa: BLE001 - whatever a test's build raises is what the test wants to see
        told.write_text(traceback.format_exc())
    os._exit(code)


def kept_images(output: Path) -> set[str]:
    """Keys of the images that a build need not generate: staged whole, or in a committed file."""
    staged = {key for key, _ in Staging(output / ".imagemill" / "staged").names()}
    committed = {
        row[name]
        for path in sorted(output.glob("data/*.parquet"))
        for row in read_rows(path, ["image_key", "input_key"])
        for name in ("image_key", "input_key")
    }
    return staged | committed


def one_point(faults: Faults, request: Mapping[str, Any], at: int) -> dict[str, Any]:
    """A build with a fault at one call, and the build after it."""
    folder = Path(request["folder"])
    fields = {**request["fields"], "output": str(folder / "out")}
    output, log, told = folder / "out", folder / "generated", folder / "told"
    shutil.rmtree(output, ignore_errors=True)
    log.write_text("")
    told.write_text("")
    _build_before(request, fields, log, told)
    faults.arm(request["action"], f"{output}/*", at, request.get("times", 1))
    code = in_child(fields, log, told)
    faults.disarm()
    first = told.read_text()
    kept = kept_images(output) if output.exists() else set()
    generated = Counter(log.read_text().split())
    log.write_text("")
    last = in_child(fields, log, told)
    again = Counter(log.read_text().split())
    return {
        "at": at,
        "call": faults.first[:300],
        "failed": faults.failed,
        "code": code,
        "message": first,
        "lost": sorted(kept & again.keys()),
        "twice": sum(count > 1 for count in (generated + again).values()),
        "last": last,
        "fingerprint": told.read_text(),
        "left": sorted(path.name for path in (output / ".imagemill").iterdir()),
        "verified": last == 0 and verify_files(str(output), measures_of).good,
    }


def _build_before(request: Mapping[str, Any], fields: Mapping[str, Any], log: Path, told: Path) -> None:
    """Build the dataset that the build goes on with, if the request has one: its fields that differ."""
    if "before" in request:
        assert in_child({**fields, **request["before"]}, log, told) == 0, told.read_text()
        log.write_text("")


def serve(request: Mapping[str, Any]) -> None:
    """Print the number of calls of an undisturbed build and its fingerprint, then a line for each point."""
    for name, value in CONSTANTS.items():
        setattr(compaction, name, value)
    folder = Path(request["folder"])
    faults = Faults(Path(os.environ["FAULTS_CONTROL"]))
    fields = {**request["fields"], "output": str(folder / "undisturbed")}
    # Once in this process: forked ones then have all imports.
    plain_build({**fields, "output": str(folder / "first")}, folder / "generated")
    log, told = folder / "generated", folder / "told"
    _build_before(request, fields, log, told)
    faults.count(f"{folder}/undisturbed/*")
    code = in_child(fields, log, told)
    seen = faults.seen
    faults.disarm()
    print(json.dumps({"code": code, "calls": seen, "fingerprint": told.read_text()}), flush=True)
    for at in range(request["start"], seen + 1, request["step"]):
        print(json.dumps(one_point(faults, request, at)), flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
