"""A large file's hash is remembered until anything about the file changes, and no other user can make it up."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imagemill.models import hash_cache
from imagemill.models.catalog.model_files import hash_model
from imagemill.models.hash_cache import cached_hash
from tests.models.catalog.folders import write_model

SIZE = 2 * hash_cache.MIN_BYTES


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hashes are remembered; a file may be so at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 0)
    return tmp_path / "cache" / "imagemill" / "hashes" / "files.json"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a" * SIZE)
    return path


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, no file may be read."""
    return lambda: monkeypatch.setattr(hash_cache, "hash_file", lambda path: pytest.fail(f"{path} was read"))


def real_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_that_did_not_change_is_not_read_again(weights: Path, unread: Callable[[], None]):
    first = cached_hash(weights)
    unread()
    assert cached_hash(weights) == first == real_hash(weights)


def test_another_process_does_not_read_it_again_either(weights: Path):
    expected = cached_hash(weights)
    code = (
        "import sys; from pathlib import Path; from imagemill.models import hash_cache; hash_cache.hash_file = None; "
        "print(hash_cache.cached_hash(Path(sys.argv[1])))"
    )
    found = subprocess.run([sys.executable, "-c", code, weights], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected


def test_a_models_weights_are_read_once(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch):
    folder, read = write_model(tmp_path / "mine"), []
    weights.rename(folder / "transformer" / "large.safetensors")
    monkeypatch.setattr(hash_cache, "hash_file", lambda path: read.append(path.name) or real_hash(path))
    assert hash_model(folder) == hash_model(folder)
    assert read.count("large.safetensors") == 1


def in_place_with_the_old_time(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_another_file_of_the_same_size_and_time(path: Path) -> None:
    before, other = path.stat(), path.with_name("other")
    other.write_bytes(b"b" * SIZE)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def at_its_end(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"b")


def by_a_link_to_another_file(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"b" * SIZE)
    path.unlink()
    path.symlink_to(other)


CHANGES = (in_place_with_the_old_time, by_another_file_of_the_same_size_and_time, at_its_end, by_a_link_to_another_file)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changed_is_read_again(change: Callable[[Path], None], weights: Path):
    before = cached_hash(weights)
    change(weights)
    assert cached_hash(weights) == real_hash(weights) != before


def test_a_link_that_goes_to_another_file_has_that_ones_hash(tmp_path: Path, weights: Path, unread: Callable[[], None]):
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_bytes(b"b" * SIZE)
    expected = [cached_hash(path) for path in (weights, other)]
    unread()
    for path, found in zip((weights, other), expected, strict=True):
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        assert cached_hash(link) == found


def test_a_file_that_was_changed_a_moment_ago_is_not_remembered(
    weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    """It could change again and keep its time, on a file system with coarse ones."""
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 10**15)
    assert cached_hash(weights) == real_hash(weights)
    assert not cache.exists()


def test_a_small_file_is_not_remembered(tmp_path: Path, cache: Path):
    (tmp_path / "config.json").write_text("{}")
    assert cached_hash(tmp_path / "config.json") == real_hash(tmp_path / "config.json")
    assert not cache.exists()


DAMAGED = ("", "{", "[]", "null", '{"a": 1}', '{"a": [[1], "b"]}', '{"a": [[1, 2, 3, 4], 5]}', "[" * 100_000, "\0\xff")


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_cache_is_as_none(text: str, weights: Path, cache: Path, unread: Callable[[], None]):
    cached_hash(weights)
    cache.write_text(text)
    assert cached_hash(weights) == real_hash(weights)
    # And is whole again.
    unread()
    assert cached_hash(weights) == real_hash(weights)


def test_a_cache_that_others_may_write_is_not_believed(weights: Path, cache: Path):
    cached_hash(weights)
    assert cache.stat().st_mode & 0o777 == 0o600
    [(path, (state, _))] = json.loads(cache.read_text()).items()
    cache.write_text(json.dumps({path: [state, "f" * 64]}))
    assert cached_hash(weights) == "f" * 64
    for mode in (0o620, 0o602):
        cache.chmod(mode)
        assert cached_hash(weights) == real_hash(weights)
        cache.write_text(json.dumps({path: [state, "f" * 64]}))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's file")
def test_a_cache_of_another_user_is_not_believed(weights: Path, cache: Path):
    cached_hash(weights)
    [(path, (state, _))] = json.loads(cache.read_text()).items()
    cache.write_text(json.dumps({path: [state, "f" * 64]}))
    os.chown(cache, 12345, 12345)
    assert cached_hash(weights) == real_hash(weights)


def test_without_a_place_for_the_cache_every_file_is_read(tmp_path: Path, weights: Path):
    (tmp_path / "cache").write_text("a file")
    assert cached_hash(weights) == cached_hash(weights) == real_hash(weights)


def test_the_first_remembered_are_forgotten_first(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hash_cache, "MAX_ENTRIES", 2)
    for number in (0, 1, 2, 1):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * SIZE)
        cached_hash(tmp_path / f"{number}")
    assert [Path(path).name for path in json.loads(cache.read_text())] == ["2", "1"]
    assert [path.name for path in cache.parent.iterdir()] == ["files.json"]
