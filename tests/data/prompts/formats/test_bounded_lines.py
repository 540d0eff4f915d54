"""A line of any length costs itself and no memory; the lines after it are read, in every format and compression."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.errors import InputError
from imagemill.data.prompts.formats import bounded_lines as module
from imagemill.data.prompts.formats import parquet_format
from imagemill.data.prompts.formats.bounded_lines import TOO_LONG, bounded_lines
from imagemill.data.prompts.reader import read_records

PACK = {"": lambda content: content, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}

HEAD = {".jsonl": b"", ".txt": b"", ".csv": b"prompt,note\n", ".tsv": b"prompt\tnote\n"}
ROW = {".jsonl": b'{"prompt": "%s"}\n', ".txt": b"%s\n", ".csv": b"%s,n\n", ".tsv": b"%s\tn\n"}

READ = """
import json, resource, sys
from pathlib import Path
from imagemill.data.prompts.reader import read_records
assert "torch" not in sys.modules
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = [(record.line, record.fields and record.fields["prompt"], record.fault) for record in read_records(sys.argv[1])]
print(json.dumps(found))
"""

MORE_MEMORY = 320 * 2**20
"""What reading may take beside the modules: five lines of the greatest length."""

LINE = 2**29


def read_in_a_child(path):
    """The records, read in a process that can allocate no more than MORE_MEMORY."""
    command = [sys.executable, "-c", READ, str(path), str(MORE_MEMORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    return json.loads(done.stdout)


def write_long(path, suffix, packing):
    """A file with a row, a line of half a gibibyte of zeros, and another row."""
    pack = PACK[packing]
    head, tail = HEAD[suffix] + ROW[suffix] % b"a fox", b"\n" + ROW[suffix] % b"a kite"
    with path.open("wb") as file:
        file.write(pack(head))
        if packing:
            # Streams of each of these formats may be joined.
            zeros = pack(bytes(2**24))
            file.writelines([zeros] * (LINE // 2**24))
        else:
            file.seek(LINE, 1)
        file.write(pack(tail))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "packing"), [(".jsonl", ".gz"), (".txt", ".bz2"), (".csv", ".xz"), (".tsv", ""), (".jsonl", "")]
)
def test_a_line_of_half_a_gibibyte_is_one_bad_row_in_little_memory(tmp_path, suffix, packing):
    path = tmp_path / f"p{suffix}{packing}"
    write_long(path, suffix, packing)
    first = 2 if HEAD[suffix] else 1
    assert read_in_a_child(path) == [
        [first, "a fox", None],
        [first + 1, None, TOO_LONG],
        [first + 2, "a kite", None],
    ]


def test_a_line_within_the_limit_is_read(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"prompt": "%s"}\n' % (b"x" * 5_000_000))
    (record,) = read_records(str(path))
    assert len(record.fields["prompt"]) == 5_000_000


@pytest.mark.parametrize(
    "content", [b"", b"a", b"a\n", b"\n\n", b"a\r\nb\rc\n\rd\r", b"\r", b"x\r\n", b"ab\ncd\r\r\nef"]
)
@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_lines_are_those_that_python_reads_whatever_the_block(monkeypatch, content, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    assert list(bounded_lines(io.BytesIO(content))) == list(io.BytesIO(content))
    text = io.TextIOWrapper(io.BytesIO(content), newline="")
    assert b"".join(bounded_lines(io.BytesIO(content), old_mac=True)) == content
    assert [line.decode() for line in bounded_lines(io.BytesIO(content), old_mac=True)] == list(text)


def test_only_what_is_beyond_the_limit_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 3)
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 4)
    assert list(bounded_lines(io.BytesIO(b"abc\nabcd\nabcdefghij\na\nabcde"))) == [b"abc\n", None, None, b"a\n", None]


def test_a_csv_of_an_old_mac_is_read_as_before(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(b"prompt,x\ra fox,1\ra kite,2\r")
    assert [(record.line, record.fields["prompt"]) for record in read_records(str(path))] == [
        (2, "a fox"),
        (3, "a kite"),
    ]


def test_a_heading_that_is_too_long_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 100)
    path = tmp_path / "p.csv"
    path.write_bytes(b"prompt," + b"x" * 200 + b"\na,b\n")
    with pytest.raises(InputError, match=r"the heading of the prompts file .* cannot be read: the line has over"):
        list(read_records(str(path)))


def test_joined_and_padded_xz_streams_are_read_to_their_end(tmp_path):
    path = tmp_path / "p.txt.xz"
    path.write_bytes(lzma.compress(b"a\nb") + bytes(8) + lzma.compress(b"c\n") + lzma.compress(b"d") + bytes(4))
    assert [record.fields["prompt"] for record in read_records(str(path))] == ["a", "bc", "d"]


def test_an_xz_file_that_wants_a_large_dictionary_is_refused(tmp_path):
    packed = bytearray(lzma.compress(b"a fox\n" * 1000, lzma.FORMAT_XZ))
    # The dictionary's size is a byte of the block's header, which has a checksum of its own.
    at = packed.index(b"\x21\x01", 12) + 2
    packed[at] = 40
    length = (packed[12] + 1) * 4
    packed[12 + length - 4 : 12 + length] = zlib.crc32(bytes(packed[12 : 12 + length - 4])).to_bytes(4, "little")
    path = tmp_path / "p.txt.xz"
    path.write_bytes(packed)
    with pytest.raises(InputError, match="Memory usage limit exceeded"):
        list(read_records(str(path)))


def test_a_parquet_column_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_format, "MAX_UNPACKED_BYTES", 10 * 2**20)
    path = tmp_path / "p.parquet"
    value = "x" * (20 * 2**20)
    pq.write_table(pa.table({"prompt": [value]}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match=r"the column 1 of its row group 1 unpacks from \d MiB to 20 MiB"):
        list(read_records(str(path)))
