"""Prompts compressed by zstd are read in bounded memory."""

import pyarrow as pa
import pytest

from imagemill.data.errors import InputError
from imagemill.data.prompts.reader import read_records
from tests.data.prompts.formats.test_bounded_lines import read_in_a_child

CONTENT = {
    ".jsonl": b'{"prompt": "a"}\n' * 3,
    ".csv": b"prompt,x\na,1\na,2\na,3\n",
    ".json": b'[{"prompt": "a"}, {"prompt": "a"}, {"prompt": "a"}]',
    ".txt": b"a\na\na\n",
}


def pack(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


@pytest.mark.parametrize("suffix", CONTENT)
def test_a_zst_file_is_read_and_a_truncated_one_is_an_error(tmp_path, suffix):
    content = pack(CONTENT[suffix])
    path = tmp_path / f"p{suffix}.zst"
    path.write_bytes(content)
    assert [record.fields["prompt"] for record in read_records(str(path))] == ["a"] * 3
    path.write_bytes(content[:-6])
    with pytest.raises(InputError, match="is cut short or damaged: Compressed file ended before"):
        list(read_records(str(path)))


def test_joined_frames_are_read_to_their_end(tmp_path):
    path = tmp_path / "p.txt.zst"
    path.write_bytes(pack(b"a\nb") + b"\x50\x2a\x4d\x18\4\0\0\0skip" + pack(b"c\nd"))
    assert [record.fields["prompt"] for record in read_records(str(path))] == ["a", "bc", "d"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"plain text", "Not a zstd file"), (pack(b"a") + b"junk", "Unknown frame descriptor")],
)
def test_what_is_not_zstd_is_an_error(tmp_path, content, message):
    (tmp_path / "p.txt.zst").write_bytes(content)
    with pytest.raises(InputError, match=f"cannot be read: .*{message}"):
        list(read_records(str(tmp_path / "p.txt.zst")))


def zeros(path):
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(b"a fox\n")
        for _ in range(32):
            file.write(bytes(2**24))
        file.write(b"\na kite\n")


@pytest.mark.slow
def test_a_line_of_half_a_gibibyte_is_one_bad_row_in_little_memory(tmp_path):
    zeros(tmp_path / "p.txt.zst")
    assert [row[1] for row in read_in_a_child(tmp_path / "p.txt.zst")] == ["a fox", None, "a kite"]


def test_a_file_that_wants_a_large_window_is_refused(tmp_path):
    path = tmp_path / "p.txt.zst"
    zeros(path)
    content = bytearray(path.read_bytes())
    # The window's size is the byte behind the frame's descriptor.
    content[5] = 21 << 3
    path.write_bytes(content)
    with pytest.raises(InputError, match="too much memory"):
        list(read_records(str(path)))
