"""Prompts in a dataset on the Hub are read like local ones, at the commit that was pinned."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from imagemill.data.errors import InputError, RecipeError
from imagemill.data.prompts.hub import is_pinned, pin_prompts
from imagemill.data.prompts.reader import read_records
from tests.data.dataset_hub import DatasetHub, Repository

NAME = "studio/animals"
Files = Callable[..., Repository]


def parquet(*prompts: str) -> bytes:
    buffer = io.BytesIO()
    images = pa.array([b"an image"] * len(prompts), pa.binary())
    pq.write_table(pa.table({"prompt": list(prompts), "image": images}), buffer)
    return buffer.getvalue()


@pytest.fixture
def files(dataset_hub: DatasetHub) -> Files:
    """Commits these files to the dataset: {path: content}."""

    def make(content: dict[str, bytes]) -> Repository:
        repository = dataset_hub.repositories.setdefault(NAME, Repository())
        repository.commit(content)
        return repository

    return make


def prompts_of(prompts: str) -> list[str]:
    return [record.fields["prompt"] for record in read_records(pin_prompts(prompts))]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("prompts/all.jsonl", b'{"prompt": "a fox"}\n{"prompt": "a kite"}\n'),
        ("all.csv.gz", gzip.compress(b"prompt\na fox\na kite\n", mtime=0)),
        ("data/train-00000-of-00001.parquet", parquet("a fox", "a kite")),
    ],
)
def test_a_file_of_a_dataset_is_read_like_a_local_one(files: Files, path: str, content: bytes):
    files({path: content})
    assert prompts_of(f"hf://datasets/{NAME}/{path}") == ["a fox", "a kite"]


CARD = b"""---
configs:
- config_name: small
  data_files: [{split: train, path: mine/tr-*.parquet}, {split: test, path: [mine/te-*.parquet]}]
- config_name: large
  default: true
  data_files: [{split: train, path: "more/**/*.parquet"}]
---
"""
LARGE = {"README.md": CARD, "more/b/1.parquet": parquet("c", "d"), "more/a/1.parquet": parquet("a", "b")}
SMALL = {"mine/tr-0.parquet": parquet("one"), "mine/te-0.parquet": parquet("two")}


@pytest.mark.parametrize(
    ("content", "prompts", "read"),
    [
        (LARGE | SMALL, "small:train", ["one"]),
        (LARGE | SMALL, "small:test", ["two"]),
        (LARGE | SMALL, "large:train", ["a", "b", "c", "d"]),
        (LARGE | SMALL, "train", ["a", "b", "c", "d"]),
        ({"data/train-0-of-2.parquet": parquet("a"), "data/train-1-of-2.parquet": parquet("b")}, "train", ["a", "b"]),
        ({"data/train-0.parquet": parquet("a"), "data/test-0.parquet": parquet("b")}, "default:test", ["b"]),
        ({"en/train-0.parquet": parquet("a"), "de/train-0.parquet": parquet("b")}, "de:train", ["b"]),
    ],
)
def test_a_split_is_found_by_the_card_or_by_the_usual_file_names(files: Files, content, prompts, read):
    files(content)
    assert prompts_of(f"hf:{NAME}:{prompts}") == read
    if prompts == "train":
        assert prompts_of(f"hf:{NAME}") == read


def test_a_dataset_of_other_formats_is_read_from_the_hubs_parquet(files: Files):
    repository = files({"main/train/0000.parquet": parquet("a fox"), "main/test/0000.parquet": parquet("a kite")})
    repository.converted = len(repository.commits) - 1
    files({"animals.json": b"[]"})
    assert prompts_of(f"hf:{NAME}:main:test") == prompts_of(f"hf:{NAME}:test") == ["a kite"]


def test_prompts_are_those_of_the_pinned_commit(files: Files):
    where = f"hf://datasets/{NAME}/all.jsonl"
    repository = files({"all.jsonl": b'{"prompt": "old"}\n'})
    pinned, before = pin_prompts(where), repository.head
    assert pinned == f"hf://datasets/{NAME}@{before}/all.jsonl"
    files({"all.jsonl": b'{"prompt": "new"}\n'})
    assert [record.fields["prompt"] for record in read_records(pinned)] == ["old"]
    assert prompts_of(where) == ["new"]
    assert prompts_of(f"hf://datasets/{NAME}@{before}/all.jsonl") == ["old"]


def test_lines_are_numbered_across_files(files: Files):
    files({"data/train-0.parquet": parquet("a", "b"), "data/train-1.parquet": parquet("c")})
    assert [record.line for record in read_records(pin_prompts(f"hf:{NAME}:train"))] == [1, 2, 3]


@pytest.mark.parametrize(
    ("prompts", "kind", "words"),
    [
        ("hf://models/studio/animals/x.jsonl", RecipeError, "it is hf://datasets/org/name/path for a file"),
        ("hf:studio/others:train", RecipeError, "'studio/others' does not exist, or is private"),
        (f"hf:{NAME}@v9:train", RecipeError, "has no revision 'v9'"),
        (f"hf:{NAME}:test", InputError, r"no Parquet files for split 'test'; it has data/train-0\.parquet"),
        (f"hf:{NAME}:en:train", InputError, "split 'train' of config 'en'"),
        (f"hf://datasets/{NAME}/none.jsonl", InputError, r"none\.jsonl' does not exist"),
        (f"hf://datasets/{NAME}/data/train-0.yaml", InputError, "none of .jsonl, .csv"),
    ],
)
def test_prompts_missing_from_the_hub_are_one_clear_message(files: Files, prompts: str, kind, words: str):
    files({"data/train-0.parquet": parquet("a")})
    with pytest.raises(kind, match=words):
        prompts_of(prompts)


def test_an_unreachable_hub_is_one_clear_message(files: Files, monkeypatch: pytest.MonkeyPatch):
    files({"all.jsonl": b'{"prompt": "a fox"}\n'})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"cannot be reached \(OfflineModeIsEnabled"):
        prompts_of(f"hf://datasets/{NAME}/all.jsonl")


COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("pinned", "fits"),
    [
        (f"hf:studio/animals@{COMMIT}:big:train", True),
        (f"hf:studio/animals@{COMMIT}:small:train", False),
        (f"hf:studio/others@{COMMIT}:big:train", False),
        ("hf:studio/animals@main:big:train", False),
        ("hf:studio/animals:big:train", False),
        (f"hf://datasets/studio/animals@{COMMIT}/../../x", False),
        ("/etc/passwd", False),
        ("http://127.0.0.1/prompts.jsonl", False),
        ("", False),
        (None, False),
        (["hf:studio/animals"], False),
    ],
)
def test_only_the_recipes_prompts_at_a_commit_can_be_pinned(pinned: object, fits: bool):
    assert is_pinned("hf:studio/animals:big:train", pinned) is fits
