"""A push sends only the files that differ, shows them in one commit, and touches no other repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from imagemill.data.errors import DatasetDiffers, NotAnImagemillDataset, RecipeError, UploadFailed
from imagemill.data.export.push import push
from tests.data.dataset_hub import DatasetHub
from tests.data.export.test_export import FILES, finished

NAME = "studio/animals"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished dataset of three data files, with a card, and with a private file."""
    folder = finished(tmp_path / "out", edits=True)
    (folder / "README.md").write_text("---\nlicense: other\n---\n\n# small\n")
    (folder / "contact_sheet.jpg").write_bytes(b"a sheet")
    (folder / "set_aside.jsonl").write_text("{}\n")
    return folder


def second(output: Path) -> Path:
    """The second of its data files."""
    return sorted((output / "data").iterdir())[1]


def local_files(output: Path) -> dict[str, bytes]:
    paths = [*sorted((output / "data").iterdir()), *(output / name for name in ("README.md", "contact_sheet.jpg"))]
    return {str(path.relative_to(output)): path.read_bytes() for path in [*paths, output / "manifest.json"]}


def without_attributes(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in files.items() if path != ".gitattributes"}


def test_a_push_creates_a_private_repository_of_data_card_and_manifest_in_one_commit(
    dataset_hub: DatasetHub, output: Path
):
    progress: list[tuple[int, int]] = []
    done = push(output, NAME, emit=lambda *sizes: progress.append(sizes))
    repository = dataset_hub.repositories[NAME]
    assert without_attributes(repository.files) == local_files(output)
    assert (repository.private, len(repository.commits)) == (True, 2)
    assert repository.messages[-1] == "6 rows, fingerprint f"
    assert (done.rows, done.sent, done.removed, done.commit) == (6, FILES + 3, 0, repository.head)
    assert (done.url, done.bytes) == (
        f"{dataset_hub.address}/datasets/{NAME}",
        sum(map(len, local_files(output).values())),
    )
    assert progress[-1][0] == progress[-1][1] == progress[0][1] > 0


def test_a_repository_is_public_only_on_demand(dataset_hub: DatasetHub, output: Path):
    push(output, NAME, public=True)
    assert not dataset_hub.repositories[NAME].private


def test_only_files_that_differ_are_sent_and_files_that_the_dataset_lost_are_removed(
    dataset_hub: DatasetHub, output: Path
):
    push(output, NAME)
    repository, sent = dataset_hub.repositories[NAME], len(dataset_hub.sent)
    again = push(output, NAME)
    assert (again.sent, again.bytes, again.commit, len(repository.commits)) == (0, 0, repository.head, 2)
    manifest = json.loads((output / "manifest.json").read_text())
    del manifest["files"][1]
    second(output).unlink()
    (output / "manifest.json").write_text(json.dumps(manifest))
    after = push(output, NAME)
    assert (after.sent, after.removed, len(dataset_hub.sent)) == (1, 1, sent)
    assert without_attributes(repository.files) == local_files(output)


def test_an_interrupted_push_shows_nothing_and_sends_no_file_twice(dataset_hub: DatasetHub, output: Path):
    dataset_hub.uploads_left = 1
    with pytest.raises(UploadFailed, match=r"Files that have arrived are not sent again: push again to continue\."):
        push(output, NAME)
    assert without_attributes(dataset_hub.repositories[NAME].files) == {}
    dataset_hub.uploads_left = None
    push(output, NAME)
    assert without_attributes(dataset_hub.repositories[NAME].files) == local_files(output)
    assert len(dataset_hub.sent) == len(set(dataset_hub.sent)) == FILES + 1


def test_a_file_that_is_not_the_manifests_is_not_pushed(dataset_hub: DatasetHub, output: Path):
    path = second(output)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DatasetDiffers, match=f"{path.name}' is missing, or not the file that manifest.json names"):
        push(output, NAME)
    assert len(dataset_hub.repositories[NAME].commits) == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"manifest.json": b'{"recipe": {"name": "other"}}'}, "holds the dataset 'other', and this one is 'small'"),
        ({"data/train-00000.parquet": b"mine"}, "holds files of no imagemill dataset"),
    ],
)
def test_another_repository_is_not_touched(dataset_hub: DatasetHub, output: Path, files, message: str):
    push(output, NAME)
    dataset_hub.repositories[NAME].commit(files)
    with pytest.raises(NotAnImagemillDataset, match=message):
        push(output, NAME)
    assert dataset_hub.repositories[NAME].files == files


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "You may not write here.* no write access to 'studio/animals': give one that has"), (401, "does not know")],
)
def test_a_refusal_is_one_error_with_the_hubs_message(dataset_hub: DatasetHub, output: Path, status, message: str):
    dataset_hub.refuse = status
    with pytest.raises(UploadFailed, match=message):
        push(output, NAME)


def test_without_a_token_a_network_or_a_name_the_message_says_what_to_do(
    dataset_hub: DatasetHub, output: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with pytest.raises(RecipeError, match="give it as org/name"):
        push(output, "animals")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UploadFailed, match="HF_HUB_OFFLINE is set"):
        push(output, NAME)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(RecipeError, match="no token for the Hub: set HF_TOKEN to one with write access"):
        push(output, NAME)
    assert dataset_hub.repositories == {}


def test_a_dataset_in_object_storage_is_pushed_through_this_machine(dataset_hub: DatasetHub, output: Path, bucket: str):
    import s3fs

    s3fs.S3FileSystem().put(str(output) + "/", f"{bucket}/animals/", recursive=True)
    push(f"s3://{bucket}/animals", NAME)
    assert without_attributes(dataset_hub.repositories[NAME].files) == local_files(output)


def test_a_concurrent_commit_is_not_overwritten(dataset_hub: DatasetHub, output: Path):
    def meddle(sent: int, total: int) -> None:
        if not sent:
            dataset_hub.repositories[NAME].commit({"mine": b"1"})

    with pytest.raises(UploadFailed, match="The repository has changed in the meantime"):
        push(output, NAME, emit=meddle)
    assert dataset_hub.repositories[NAME].files == {"mine": b"1"}
