"""Rows that are read and rows that are set aside are together the rows of the file, in every format and compression."""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
}

TEXTS = ("a fox", 'a 12" disc', "a, b; c", "a\\", "é 🦊", "{a}", "}, {", "[", "'", "a | b", "-")


def jsonl(rows):
    bad = (b'{"prompt": "a"', b"[1]", b'{"prompt": "caf\xe9"}', b"nope", b'{"prompt": "\\ud800"}', b'{"prompt": ["a"]}')
    return b"".join((json.dumps({"prompt": text}).encode() if text else bad[n % len(bad)]) + b"\n" for n, text in rows)


def json_array(rows):
    bad = (b"5", b'"a"', b"[1, [2]]", b'{"prompt": "caf\xe9"}', b'{"prompt": "a",}', b'{"prompt": {"a": "}, {"}}')
    texts = [json.dumps({"prompt": text}, indent=n % 3).encode() if text else bad[n % len(bad)] for n, text in rows]
    return b"[\n" + b",\n".join(texts) + b"\n]"


def table(mark, bad):
    def write(rows):
        quoted = ('"' + text.replace('"', '""') + '"' + mark + "x" if text else bad[n % len(bad)] for n, text in rows)
        return (f"prompt{mark}note\n" + "".join(f"{row}\n" for row in quoted)).encode("utf-8", "surrogateescape")

    return write


def text_lines(rows):
    return b"".join((text.encode() if text else b"caf\xe9") + b"\n" for _, text in rows)


def arrow_table(rows):
    texts = [text.encode() if text else b"\xff" for _, text in rows]
    damaged = pa.array(texts, pa.binary()).cast(pa.string(), safe=False)
    return pa.table({"prompt": damaged, "n": [n for n, _ in rows]})


def parquet(rows):
    file = io.BytesIO()
    pq.write_table(arrow_table(rows), file, row_group_size=7)
    return file.getvalue()


def feather(rows):
    file = pa.BufferOutputStream()
    pyarrow.feather.write_feather(arrow_table(rows), file, compression="uncompressed", chunksize=7)
    return file.getvalue().to_pybytes()


def tar(rows):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number, (_, text) in enumerate(rows):
            for suffix, content in (("json", b'{"n": 1}'), ("txt", text.encode() if text else b"caf\xe9")):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


CSV_BAD = ('"open,x', 'b,"open', "caf\udce9,x", '"a" b,x', "a,b,c,d", '"open')

FORMATS = {
    ".jsonl": jsonl,
    ".ndjson": jsonl,
    ".json": json_array,
    ".csv": table(",", CSV_BAD),
    ".tsv": table("\t", ['"open\tx', "caf\udce9\tx", '"a" b\tx', "a\tb\tc"]),
    ".txt": text_lines,
    ".parquet": parquet,
    ".arrow": feather,
    ".tar": tar,
}


@pytest.fixture(params=range(5))
def rows(request):
    """Rows of which a fifth is damaged: (number, its text or None), together with a number for what is chosen."""
    chance = random.Random(request.param)
    return [(chance.randrange(1000), chance.choice(TEXTS) if chance.random() < 0.8 else None) for _ in range(50)]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_row_is_read_or_set_aside(load, rows, suffix):
    packing = list(PACK)[rows[0][0] % len(PACK)] if suffix != ".parquet" else ""
    found = load(PACK[packing](FORMATS[suffix](rows)), f"p{suffix}{packing}", max_set_aside=1)
    assert found.loaded.rows + found.loaded.set_aside == len(rows)
    assert found.loaded.rows >= sum(text is not None for _, text in rows)
    assert len({fault.line for fault in found.faults}) == len(found.faults)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_row_of_a_folder_is_read_or_set_aside(load, rows, suffix, tmp_path: Path):
    (tmp_path / "shards").mkdir()
    for number in range(3):
        (tmp_path / "shards" / f"p-{number}{suffix}").write_bytes(FORMATS[suffix](rows))
    # The keys of a tar are ids, which the other shards have again.
    found = load(None, "shards", max_set_aside=1)
    assert found.loaded.rows + found.loaded.set_aside == 3 * len(rows)
    assert len({fault.line for fault in found.faults}) == len(found.faults)
