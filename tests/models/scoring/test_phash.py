"""The internal scorer of near-duplicates gives each image its perceptual hash, and no score."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from imagemill.data.images.phash import phash
from imagemill.models.catalog.scorers.spec import PHASH
from imagemill.models.scoring.kind import kind_of, names
from imagemill.models.scoring.score import score
from tests.models.jobs import silent
from tests.models.score_jobs import make_job, noise, request, stage, written


def test_a_score_has_the_hash_of_its_image(tmp_path: Path):
    images = [noise(1), noise(2)]
    asked = [request(PHASH, ref) for ref in stage(tmp_path / "staged", images)]
    job = make_job(tmp_path, (PHASH, asked))
    score(job, silent)
    found = written(job)
    assert [(found[one.id].score, found[one.id].hash) for one in asked] == [(None, phash(image)) for image in images]


def test_every_kind_has_the_name_of_its_file():
    assert {name: kind_of(name).name for name in names()} == {name: name for name in names()}
    assert names() == ["classify", "head", "phash", "pixels", "similarity"]


def test_scorers_are_resolved_without_torch_or_transformers():
    code = "import sys, json, imagemill.models.catalog.scorers.resolve, imagemill.models.score_job"
    command = [sys.executable, "-c", f"{code}; print(json.dumps(sorted(sys.modules)))"]
    loaded = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert not {"torch", "transformers", "diffusers"} & set(loaded)
