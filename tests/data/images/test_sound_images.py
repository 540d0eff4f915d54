"""Images that other programs show are read as those show them, whatever their file has beside the pixels."""

import io
import struct
import sys
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from imagemill.data.errors import BadRow
from imagemill.data.images import heif
from imagemill.data.images.codec import decode_image, inspect_image
from imagemill.data.images.truncated import truncation
from tests.data.images.profiles import DISPLAY_P3, rgb_profile

RED = (200, 30, 30)
MEGABYTE = 2**20


def saved(image, image_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def red_png(*chunks, after=b"", size=(20, 16)):
    """A red PNG with these chunks before its pixels, and with ``after`` behind them."""
    content = saved(Image.new("RGB", size, RED))
    return content[:33] + b"".join(chunks) + content[33:-12] + after + content[-12:]


def workflow(size):
    """A ComfyUI workflow: a compressed text of ``size`` bytes."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b"{" * min(MEGABYTE, size - start)) for start in range(0, size, MEGABYTE))
    return packed + packer.flush()


def first_pixel(content):
    return decode_image(content, "p").getpixel((0, 0))


def inspected(content, tmp_path):
    (tmp_path / "p").write_bytes(content)
    return inspect_image(tmp_path / "p")


TEXTS = {
    "zTXt": chunk(b"zTXt", b"workflow\0\0" + workflow(2 * MEGABYTE)),
    "iTXt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + workflow(2 * MEGABYTE)),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_png_is_read_whatever_texts_it_has(kind, tmp_path):
    for content in (red_png(TEXTS[kind]), red_png(after=TEXTS[kind]), red_png(*TEXTS.values(), *TEXTS.values())):
        assert first_pixel(content) == RED
        assert inspected(content, tmp_path)[1:3] == (20, 16)


def test_texts_of_more_than_pillow_takes_in_all_are_skipped(tmp_path):
    texts = [chunk(b"zTXt", b"part\0\0" + workflow(MEGABYTE))] * 70
    content = red_png(*texts[:35], after=b"".join(texts[35:]))
    assert first_pixel(content) == RED
    assert inspected(content, tmp_path)[1:3] == (20, 16)


def test_a_text_that_unpacks_to_gigabytes_takes_no_memory(tmp_path):
    content = red_png(chunk(b"zTXt", b"bomb\0\0" + workflow(300 * MEGABYTE)))
    tracemalloc.start()
    assert first_pixel(content) == RED
    assert inspected(content, tmp_path)[1:3] == (20, 16)
    assert tracemalloc.get_traced_memory()[1] < 16 * MEGABYTE
    tracemalloc.stop()


def test_the_orientation_in_a_text_counts_beside_a_large_one():
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    orientation = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode())
    assert decode_image(red_png(TEXTS["zTXt"], orientation), "p").size == (16, 20)


def test_a_large_profile_is_applied_and_one_that_unpacks_to_gigabytes_counts_as_damaged(tmp_path):
    profile = rgb_profile(DISPLAY_P3)
    large, small, bomb = (
        red_png(chunk(b"iCCP", b"P3\0\0" + zlib.compress(profile + bytes(more)))) for more in (2 * MEGABYTE, 0, 2**25)
    )
    assert first_pixel(large) == first_pixel(small) != RED
    assert inspected(large, tmp_path)[1:] == inspected(small, tmp_path)[1:]
    assert first_pixel(bomb) == RED
    assert not inspected(bomb, tmp_path).has_usable_profile


@pytest.mark.parametrize("cut", [9, 20, 40, 60])
def test_a_damaged_length_in_a_png_is_a_bad_row(cut):
    content = bytearray(red_png(TEXTS["zTXt"]))
    content[33:37] = b"\x7f\xff\xff\xff"
    for damaged in (bytes(content), bytes(content[:cut])):
        with pytest.raises(BadRow, match="is a PNG image, but damaged"):
            decode_image(damaged, "p")


def grey_tiff(values, order="<", bits=16, photometric=1, signed=False):
    """A grey TIFF of one line, with big-endian bytes for ``order`` '>'."""
    if bits == 12:
        content = bytes.fromhex("".join(f"{value:03x}" for value in values))
    else:
        content = np.array(values, f"{order}{'i' if signed else 'u'}2").tobytes()
    tags = [(256, 4, len(values)), (257, 4, 1), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0)]
    tags += [(277, 3, 1), (278, 4, 1), (279, 4, len(content)), (339, 3, 2 if signed else 1)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, value in tags:
        packed = struct.pack(f"{order}H", value) if kind == 3 else struct.pack(f"{order}I", value or start)
        entries += struct.pack(f"{order}HHI", tag, kind, 1) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + content


@pytest.mark.parametrize(
    ("content", "greys"),
    [
        (grey_tiff([0, 255, 256, 40_000, 65_535]), [0, 0, 1, 156, 255]),
        (grey_tiff([0, 255, 256, 40_000, 65_535], ">"), [0, 0, 1, 156, 255]),
        (grey_tiff([0, 40_000, 65_535], photometric=0), [255, 99, 0]),
        (grey_tiff([-32_768, 0, 20_000, 32_767], signed=True), [0, 128, 206, 255]),
        (grey_tiff([-32_768, 0, 20_000, 32_767], ">", signed=True), [0, 128, 206, 255]),
        (grey_tiff([0, 0x123, 0xABC, 0xFFF], bits=12), [0, 0x12, 0xAB, 255]),
    ],
    ids=["little-endian", "big-endian", "white is zero", "signed", "signed big-endian", "12 bits"],
)
def test_deep_greys_are_scaled_to_eight_bits(content, greys, tmp_path):
    assert np.asarray(decode_image(content, "p"))[0].tolist() == [[grey] * 3 for grey in greys]
    assert inspected(content, tmp_path)[1:3] == (len(greys), 1)


def deep_png(values, transparent):
    """A 16-bit PNG of one line; ``transparent`` is a grey, or a colour."""
    values = np.array(values, ">u2")
    kind = 2 if values.ndim == 2 else 0
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(values), 1, 16, kind, 0, 0, 0))
    marked = chunk(b"tRNS", np.array(transparent, ">u2").tobytes())
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + header + marked + pixels + chunk(b"IEND", b"")


def test_the_transparent_grey_of_a_16_bit_png_is_white_and_no_other_is():
    greys = np.asarray(decode_image(deep_png([40_000, 40_001, 64], 40_000), "p"))[0, :, 0]
    assert greys.tolist() == [255, 156, 0]


def test_the_transparent_colour_of_a_16_bit_png_is_white_and_no_other_is():
    colours = [[40_000, 10_000, 60_000], [40_000, 10_001, 60_000], [64, 16, 96]]
    found = np.asarray(decode_image(deep_png(colours, colours[0]), "p"))[0]
    assert found.tolist() == [[255, 255, 255], [156, 39, 234], [0, 0, 0]]


def test_avif_is_read(tmp_path):
    content = saved(Image.new("RGB", (32, 32), RED), "AVIF", quality=100)
    assert np.abs(np.array(first_pixel(content)) - RED).max() <= 2
    assert inspected(content, tmp_path)[1:3] == (32, 32)


HEIC = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(200)


def test_without_its_reader_a_heic_image_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heif._register.cache_clear()
    with pytest.raises(BadRow, match=r"'p' is a HEIC image, .*: pip install 'imagemill\[heic\]'"):
        decode_image(HEIC, "p")
    monkeypatch.undo()
    heif._register.cache_clear()


def test_heic_is_read_with_its_colours(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = Image.new("RGB", (64, 64), (60, 160, 70))
    content = saved(image, "HEIF", quality=100, icc_profile=rgb_profile(DISPLAY_P3))
    assert content[4:8] == b"ftyp"
    assert np.abs(np.array(first_pixel(content)) - (0, 163, 55)).max() <= 4
    assert inspected(content, tmp_path)[1:3] == (64, 64)


def noise(image_format, **options):
    values = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return saved(Image.fromarray(values), image_format, **options)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_a_truncated_image_is_read_as_far_as_it_goes_where_that_is_allowed(image_format):
    content = noise(image_format)
    half = content[: len(content) // 2]
    with pytest.raises(BadRow, match=r"truncated.*; images: \{truncated: allow\} takes what there is"):
        decode_image(half, "p")
    whole, found = (np.asarray(decode_image(part, "p", truncated=True)) for part in (content, half))
    assert (whole == np.asarray(decode_image(content, "p"))).all()
    assert (found[:8] == whole[:8]).all()
    assert (found[-1] != whole[-1]).any()


def test_a_jpeg_without_its_end_marker_is_whole_where_that_is_allowed():
    content = noise("JPEG")
    assert decode_image(content[:-2], "p", truncated=True).tobytes() == decode_image(content, "p").tobytes()


def test_truncation_is_allowed_for_one_image_and_not_for_those_of_other_threads():
    half, refused = noise("JPEG")[:1000], []

    def other():
        with pytest.raises(BadRow, match="truncated"):
            decode_image(half, "p")
        refused.append(True)

    with truncation(True):
        assert ImageFile.LOAD_TRUNCATED_IMAGES
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == [True]
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty: it has 0 bytes"),
        (b"<!DOCTYPE html><html>", "is a web page; images are PNG, "),
        (b"<?xml version='1.0'?>\n<svg width='1'>", "is an SVG drawing; "),
        (b"%PDF-1.7", "is a PDF document; "),
        (b"\xff\x0a" + bytes(30), "is a JPEG XL image; "),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer, whose image `git lfs pull` downloads; ",
        ),
        (b"P6\n2 2\n255\n" + bytes(12), "is a Netpbm image; "),
        (struct.pack(">I4s4s", 24, b"ftyp", b"mp42") + bytes(30), "is a video; "),
        (noise("JPEG")[:150], r"is a JPEG image, but damaged \(Truncated File Read\)"),
        (b"GIF89a" + bytes(3), "is a GIF image, but damaged"),
        (grey_tiff([0, 1], ">", photometric=0), r"is a TIFF image, but damaged \(unknown pixel mode\)"),
        (b"just text", "is none of PNG, JPEG, WEBP, BMP, TIFF, GIF, AVIF or HEIC, or is damaged"),
    ],
)
def test_a_refusal_names_the_cause(content, cause):
    with pytest.raises(BadRow, match=f"undecodable image: 'p' {cause}"):
        decode_image(content, "p")


def test_a_jpeg_of_two_views_is_its_first():
    content = saved(Image.new("RGB", (32, 32), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))])
    assert first_pixel(content) == (254, 0, 0)
