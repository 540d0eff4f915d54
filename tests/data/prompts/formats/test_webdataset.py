"""Prompts in WebDataset tars are rows with their images; a tar can neither lead out nor fill the memory."""

import gzip
import io
import json
import tarfile

import pytest
from PIL import Image

from imagemill.data.errors import InputError
from imagemill.data.prompts.field_names import RoleNames
from imagemill.data.prompts.formats import webdataset
from imagemill.data.prompts.reader import read_records
from tests.data.prompts.formats.test_bounded_lines import read_in_a_child

ROLES = RoleNames(images="images", embedded=frozenset(["images", "mask", "Control_Image"]))


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, "PNG")
    return file.getvalue()


def tar(members):
    """A tar of (name, content); a content of None is a link to /etc/passwd."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))
    return file.getvalue()


def read(path, content, roles=ROLES):
    path.write_bytes(content)
    return list(read_records(str(path), roles=roles))


MEMBERS = [
    ("a/0001.json", json.dumps({"prompt": "not this", "style": "flat", "n": 2}).encode()),
    ("a/0001.txt", "make it café\n".encode()),
    ("a/0001.jpg", b"1"),
    ("a/0001.mask.png", b"2"),
    ("a/0001.control_image", b"3"),
    ("a/0001.cls", b"7"),
    ("a/._0001.jpg", b"junk"),
    ("0002.WEBP", b"4"),
    ("0002.json", b'{"caption": "b"}'),
]


@pytest.mark.parametrize("name", ["p.tar", "p.tar.gz"])
def test_the_files_of_a_key_are_a_row(tmp_path, name):
    content = tar(MEMBERS)
    found = read(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    assert [record.fields for record in found] == [
        {
            "prompt": "make it café",
            "style": "flat",
            "n": 2,
            "images": {"bytes": b"1", "path": "a/0001.jpg"},
            "mask": {"bytes": b"2", "path": "a/0001.mask.png"},
            "id": "a/0001",
        },
        {"images": {"bytes": b"4", "path": "0002.WEBP"}, "caption": "b", "id": "0002"},
    ]


def test_images_that_the_recipe_does_not_read_are_not_kept(tmp_path):
    found = read(tmp_path / "p.tar", tar(MEMBERS), RoleNames())
    assert found[0].fields == {"prompt": "make it café", "style": "flat", "n": 2, "id": "a/0001"}


def test_images_of_a_tar_are_edited(load, tmp_path):
    members = [("1.png", png("red")), ("1.txt", b"make it blue"), ("2.png", b"no image"), ("2.txt", b"b")]
    found = load(tar(members), "p.tar", edit={})
    assert (found.row.id, found.row.edit_prompts) == ("1", ("make it blue",))
    assert "2.png" in found.reason


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([("1.txt", b"caf\xe9")], "'1': not UTF-8 (byte 4): save the file in UTF-8"),
        ([("1.txt", b"a"), ("1.json", b"[1]")], """'1': not a JSON object such as {"prompt": "..."}"""),
        ([("1.txt", None)], "'1': '1.txt' is a link or a special file, which is not followed"),
        ([("1.txt", b"a"), ("1.jpg", None)], "'1': '1.jpg' is a link or a special file, which is not followed"),
        ([("../../1.txt", b"a"), ("../../1.png", b"x" * 101)], "'../../1': '../../1.png' has over 0 MiB"),
    ],
)
def test_a_bad_file_costs_its_row(tmp_path, monkeypatch, members, fault):
    monkeypatch.setattr(webdataset, "MAX_IMAGE_BYTES", 100)
    found = read(tmp_path / "p.tar", tar([("0.txt", b"a"), *members, ("3.txt", b"c")]))
    assert [record.fault for record in found] == [None, fault, None]
    assert [record.line for record in found] == [1, 2, 3]


def test_joined_tars_are_read_to_their_end(tmp_path):
    found = read(tmp_path / "p.tar", tar([("1.txt", b"a")]) + tar([("2.txt", b"b")]))
    assert [record.fields["prompt"] for record in found] == ["a", "b"]


def test_a_damaged_tar_is_an_error_and_loses_no_row_silently(tmp_path):
    content = bytearray(tar([(f"{number}.txt", b"a") for number in range(9)]))
    content[4 * 1024 + 150] ^= 0xFF
    with pytest.raises(InputError, match=r"p\.tar' is damaged at byte 4,096"):
        read(tmp_path / "p.tar", bytes(content))
    for size in (1024 * 3 + 100, 1024 * 3 + 512):
        with pytest.raises(InputError, match="damaged"):
            read(tmp_path / "p.tar", bytes(content[:size]))
    for content in (b"no tar" * 1000, b"short"):
        with pytest.raises(InputError, match="damaged"):
            read(tmp_path / "p.tar", content)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_any_size_takes_no_memory(tmp_path, kind):
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2**29
    path = tmp_path / "p.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(32):
            file.write(bytes(2**24))
    with pytest.raises(AssertionError, match="a member whose header has over 1 MiB"):
        read_in_a_child(path)
