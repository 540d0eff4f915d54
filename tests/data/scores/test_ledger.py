"""The ledger has each score once, whatever is killed, merged or forgotten, and refuses files that are not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.dataset.files import compaction
from imagemill.data.dataset.files.growing_files import GrowingFiles
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.data.scores import ledger as ledger_module
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.records import Score
from imagemill.data.storage.locations import hash_file


def score(number: int, scorer: str = "fits", **fields: Any) -> Score:
    request = f"{scorer}-{number:05d}"
    return Score(scorer, request, f"pixels-{number}", f"key-{number}", "sha", **{"score": number / 8, **fields})


def read(ledger: Ledger, *scorer_ids: str) -> set[Score]:
    """The scores of these scorers, or all; each must be there once."""
    names = Score.__slots__
    rows = [
        Score(**dict(zip(names, values)))
        for part in ledger.read(scorer_ids or None)
        for values in zip(*(part[name] for name in names))
    ]
    assert len(set(rows)) == len(rows)
    return set(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "out")
    with folder.lock("night"):
        yield folder


@pytest.fixture
def journal(tmp_path: Path) -> ScoreJournal:
    return ScoreJournal(tmp_path / "journal")


def absorb(folder: Folder, journal: ScoreJournal, *scores: Score) -> int:
    journal.append(scores)
    return Ledger(folder).absorb(journal)


def test_scores_are_read_as_they_were_absorbed(folder: Folder, journal: ScoreJournal) -> None:
    scores = {score(0), score(1, score=None, hash=2**64 - 1), score(2, vector=b"\0\xff" * 64), score(3, score=None)}
    assert absorb(folder, journal, *scores) == 4
    assert read(Ledger(folder)) == scores
    assert not journal.sizes()


def test_only_the_asked_scorers_and_columns_are_read(folder: Folder, journal: ScoreJournal) -> None:
    absorb(folder, journal, score(0), score(1, "looks"), score(2, "looks"), score(3, "sharp"))
    assert read(Ledger(folder), "looks", "sharp", "other") == {score(1, "looks"), score(2, "looks"), score(3, "sharp")}
    assert list(Ledger(folder).read(["fits"], ["score", "image_key"])) == [{"score": [0.0], "image_key": ["key-0"]}]
    assert list(Ledger(folder).read(["other"], ["score"])) == []


def test_an_empty_journal_leaves_no_file(folder: Folder, journal: ScoreJournal) -> None:
    ledger = Ledger(folder)
    assert (ledger.absorb(journal), ledger.files(), list(ledger.read())) == (0, [], [])
    assert not ledger.path.exists()


def test_a_request_that_has_a_score_gets_no_second_one(folder: Folder, journal: ScoreJournal) -> None:
    assert absorb(folder, journal, score(0), score(1), score(0, score=9.0)) == 2
    assert absorb(folder, journal, score(1, score=9.0), score(2), score(0)) == 1
    assert read(Ledger(folder)) == {score(0), score(1), score(2)}


def test_random_batches_end_up_in_the_ledger_once_each(
    folder: Folder, journal: ScoreJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_AT_A_TIME", 7)
    random, ledger, expected = np.random.default_rng(0), Ledger(folder), {}
    for _ in range(12):
        batch = [score(int(number), score=float(random.integers(99))) for number in random.integers(0, 60, 20)]
        for one in batch:
            expected.setdefault(one.request, one)
        journal.append(batch)
        before = len(read(ledger)) if ledger.path.exists() else 0
        assert before + ledger.absorb(journal) == len(expected)
        if random.random() < 0.3:
            ledger.compact()
    assert read(Ledger(folder)) == set(expected.values())


def test_scores_that_the_journal_still_has_after_a_kill_are_dropped(folder: Folder, journal: ScoreJournal) -> None:
    journal.append([score(0), score(1)])
    kept = {path: path.read_bytes() for path in journal.sizes()}
    ledger = Ledger(folder)
    ledger.absorb(journal)
    for path, content in kept.items():
        path.write_bytes(content)
    assert ledger.absorb(journal) == 0
    assert len(ledger.files()) == 1


def test_equal_scores_give_equal_files_in_any_order(tmp_path: Path) -> None:
    names = []
    for order in ([0, 1, 2], [2, 0, 1]):
        folder, journal = Folder(tmp_path / f"out-{order[0]}"), ScoreJournal(tmp_path / "journal")
        with folder.lock("night"):
            absorb(folder, journal, *(score(number) for number in order))
            names.append([file.name for file in Ledger(folder).files()])
    assert names[0] == names[1]


def test_small_files_are_merged_and_hold_the_same_scores(folder: Folder, journal: ScoreJournal) -> None:
    for number in range(5):
        absorb(folder, journal, score(number), score(number, "looks"))
    Ledger(folder).compact()
    (file,) = Ledger(folder).files()
    assert (file.rows, file.number) == (10, 0)
    assert len(read(Ledger(folder))) == 10
    assert [path.name for path in Ledger(folder).path.iterdir()] == [file.name]


def test_large_files_are_left_alone(folder: Folder, journal: ScoreJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SMALL_BYTES", 1)
    for number in range(3):
        absorb(folder, journal, score(number))
    before = Ledger(folder).files()
    Ledger(folder).compact()
    assert Ledger(folder).files() == before


@pytest.mark.parametrize("act", [lambda ledger: ledger.compact(), lambda ledger: ledger.forget(["looks"])])
def test_a_kill_before_the_old_files_are_removed_loses_and_doubles_nothing(
    folder: Folder, journal: ScoreJournal, act: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        absorb(folder, journal, score(number), score(number, "looks"))
    with monkeypatch.context() as patch:
        patch.setattr(GrowingFiles, "_remove", lambda self, names: None)
        act(Ledger(folder))
    expected = read(Ledger(folder))
    assert expected >= {score(number) for number in range(3)}
    assert len([*(folder.root / "scores").iterdir()]) > len(Ledger(folder).files())
    Ledger(folder).compact()
    assert read(Ledger(folder)) == expected
    assert len([*(folder.root / "scores").iterdir()]) == len(Ledger(folder).files())


def test_a_forgotten_scorer_is_gone_and_the_others_stay(folder: Folder, journal: ScoreJournal) -> None:
    absorb(folder, journal, score(0), score(1, "looks"))
    absorb(folder, journal, score(2, "looks"), score(3, "looks"))
    absorb(folder, journal, score(4))
    untouched = Ledger(folder).files()[2]
    ledger = Ledger(folder)
    assert (ledger.forget(["looks", "other"]), ledger.forget(["looks"])) == (3, 0)
    assert read(ledger) == {score(0), score(4)}
    assert untouched in ledger.files()
    journal.append([score(1, "looks", score=7.0), score(0)])
    assert ledger.absorb(journal) == 1
    assert score(1, "looks", score=7.0) in read(ledger)


def test_files_are_described_as_they_are(folder: Folder, journal: ScoreJournal) -> None:
    absorb(folder, journal, score(0), score(1))
    (file,) = Ledger(folder).files()
    path = folder.root / "scores" / file.name
    assert (file.rows, file.bytes, file.sha256) == (2, path.stat().st_size, hash_file(path))
    assert file.sha256.startswith(file.name.removesuffix(".parquet").rpartition("-")[2])


def test_other_names_are_no_files_of_the_ledger(folder: Folder, journal: ScoreJournal) -> None:
    absorb(folder, journal, score(0))
    for name in ("notes.txt", "scores-1.parquet", "train-00000-3f9a2b1c.parquet"):
        (folder.root / "scores" / name).write_bytes(b"x")
    assert read(Ledger(folder)) == {score(0)}
    Ledger(folder).compact()
    assert len([*(folder.root / "scores").iterdir()]) == 4


def test_a_file_with_other_content_than_its_name_says_is_refused(folder: Folder, journal: ScoreJournal) -> None:
    absorb(folder, journal, score(0))
    absorb(folder, journal, score(1))
    first, second = [folder.root / "scores" / file.name for file in Ledger(folder).files()]
    first.write_bytes(second.read_bytes())
    with pytest.raises(OutputError, match="does not fit its name"):
        Ledger(folder).files()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(200) + b"PAR1"])
def test_a_damaged_file_is_one_clear_error(folder: Folder, journal: ScoreJournal, content: bytes) -> None:
    absorb(folder, journal, score(0))
    (file,) = Ledger(folder).files()
    (folder.root / "scores" / file.name).write_bytes(content)
    with pytest.raises(OutputError, match=f"{file.name}.*delete it: the scores in it are then computed again"):
        read(Ledger(folder))


@pytest.mark.parametrize(
    "table",
    [pa.table({"scorer": ["a"]}), pa.table({name: ["a"] for name in Score.__slots__})],
)
def test_a_file_of_another_program_is_one_clear_error(folder: Folder, table: pa.Table) -> None:
    (folder.root / "scores").mkdir()
    pq.write_table(table, folder.root / "scores" / "scores-00000-00000000.parquet")
    with pytest.raises(OutputError, match=r"no file of imagemill's scores \(it has no column"):
        read(Ledger(folder))


@pytest.mark.parametrize("metadata", ["{", "[]", '{"replaces": 5}'])
def test_strange_metadata_is_one_clear_error(folder: Folder, metadata: str) -> None:
    (folder.root / "scores").mkdir()
    table = pa.table({"scorer": ["a"]}).replace_schema_metadata({"imagemill": metadata})
    pq.write_table(table, folder.root / "scores" / "scores-00000-00000000.parquet")
    with pytest.raises(OutputError, match="its metadata is not imagemill's"):
        Ledger(folder).files()


@pytest.mark.slow
def test_a_remote_ledger_works_like_a_local_one(bucket: str, journal: ScoreJournal) -> None:
    folder = Folder(f"s3://{bucket}/sets/night")
    with folder.lock("night"):
        for number in range(3):
            assert absorb(folder, journal, score(number), score(number, "looks")) == 2
        assert absorb(folder, journal, score(0)) == 0
        Ledger(folder).compact()
        (file,) = Ledger(folder).files()
        assert Ledger(folder).forget(["looks"]) == 3
        assert read(Ledger(folder)) == {score(0), score(1), score(2)}
        assert [path.name for path in (folder.root / "scores").iterdir()] != [file.name]
