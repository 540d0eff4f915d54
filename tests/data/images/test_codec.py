"""Unusual images are decoded as they look, damaged ones cost a row, generated ones carry their provenance."""

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import Encoding, decode_image, encode_image, inspect_image

ENCODINGS = [Encoding("png"), Encoding("jpeg", 95), Encoding("webp", 90)]


def saved(image, image_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def first_pixel(image, image_format="PNG", **options):
    decoded = decode_image(saved(image, image_format, **options), "p")
    assert decoded.mode == "RGB"
    return decoded.getpixel((0, 0))


def user_comment(content):
    return Image.open(io.BytesIO(content)).getexif().get_ifd(0x8769)[0x9286]


def noise(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)), {}),
        (Image.new("LA", (4, 4), (0, 0)), {}),
        (Image.new("P", (4, 4), 0), {"transparency": 0}),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert("P"), {}),
        (Image.new("1", (4, 4), 1), {}),
    ],
)
def test_transparency_becomes_white(image, options):
    assert first_pixel(image, **options) == (255, 255, 255)


def test_half_transparent_red_is_pink():
    assert first_pixel(Image.new("RGBA", (4, 4), (255, 0, 0, 128))) == (255, 127, 127)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(image_format):
    assert first_pixel(Image.fromarray(np.full((4, 4), 128 * 256 + 7, np.uint16)), image_format) == (128, 128, 128)


def test_cmyk_is_read_as_its_colours():
    assert first_pixel(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG") == (255, 0, 0)


def test_floating_point_pixels_are_refused():
    content = saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF")
    with pytest.raises(BadRow, match=r"the image 'p' has 32 bits a channel \(mode F\): save it with 8 or 16"):
        decode_image(content, "p")


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(saved(Image.new("RGB", (8, 4)), "JPEG", exif=exif), "p").size == (4, 8)


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (4, 4), "blue")]
    assert first_pixel(Image.new("RGB", (4, 4), "red"), "GIF", save_all=True, append_images=frames) == (255, 0, 0)


def test_the_format_is_detected_by_content_not_by_name(tmp_path):
    (tmp_path / "a.txt").write_bytes(saved(noise(), "WEBP"))
    assert len(inspect_image(tmp_path / "a.txt").sha256) == 64


@pytest.mark.parametrize("side", [12_000, 50_000, 2**31 - 1])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(side, tmp_path, recwarn):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(BadRow, match=r"bomb\.png' has .* pixels, over 100,000,000"):
        inspect_image(tmp_path / "bomb.png")


def test_a_truncated_image_is_refused_when_it_is_decoded():
    content = saved(noise(), "JPEG")
    with pytest.raises(BadRow, match=r"undecodable image: 'p' \(image file is truncated"):
        decode_image(content[:-100], "p")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_bytes_are_a_bad_row_and_never_another_error(image_format):
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(noise(), image_format, **({"exif": exif} if image_format in ("PNG", "JPEG", "WEBP") else {}))
    for _ in range(300):
        damaged = bytearray(content)
        for offset in rng.integers(0, min(len(content), rng.choice((60, 10**6))), 4):
            damaged[offset] = rng.integers(0, 256)
        # Most are still valid; the others must raise BadRow.
        with suppress(BadRow):
            decode_image(bytes(damaged), "p")


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_a_generated_image_has_its_xmp_packet(encoding):
    info = Image.open(io.BytesIO(encode_image(noise(), encoding, "a fox", "<packet é/>"))).info
    found = info["XML:com.adobe.xmp" if encoding.lossless else "xmp"]
    assert (found if encoding.lossless else found.decode()) == "<packet é/>"


@pytest.mark.parametrize("parameters", ["a fox", "un renard é", "狐 \N{FOX FACE}", "two\nlines"])
def test_a_png_has_its_generation_parameters_in_a_text_chunk(parameters):
    image = Image.open(io.BytesIO(encode_image(noise(), Encoding("png"), parameters)))
    assert image.text["parameters"] == parameters


# The last has letters that, read in the other byte order, are halves of others.
@pytest.mark.parametrize("parameters", ["a fox", "狐 \N{FOX FACE}", "größer"])
@pytest.mark.parametrize("encoding", ENCODINGS[1:], ids=lambda encoding: encoding.name)
def test_jpeg_and_webp_have_their_generation_parameters_in_exif(encoding, parameters):
    comment = user_comment(encode_image(noise(), encoding, parameters))
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be").removeprefix("\ufeff") == parameters
    # sd-prompt-reader 1.3.5 does this first, and gives up where it fails.
    comment[8:].decode("utf-16")


@pytest.mark.parametrize("encoding", ENCODINGS[1:], ids=lambda encoding: encoding.name)
def test_the_user_comment_has_the_type_that_exif_gives_it(encoding):
    # piexif reads another type as a tuple of numbers, and gives up.
    content = encode_image(noise(), encoding, "a fox")
    exif = Image.open(io.BytesIO(content)).info["exif"].removeprefix(b"Exif\0\0")
    assert struct.unpack_from(">HHHLL", exif, 26 + 2)[:2] == (0x9286, 7)
    assert struct.unpack_from(">H", exif, 26)[0] == 1


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
def test_equal_images_have_equal_bytes(encoding):
    assert encode_image(noise(), encoding, "é") == encode_image(noise(), encoding, "é")


def test_png_keeps_every_pixel():
    image = noise()
    assert decode_image(encode_image(image, Encoding("png"), ""), "p").tobytes() == image.tobytes()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)
@pytest.mark.parametrize("letter", ["x", "\N{FOX FACE}"])
def test_a_huge_prompt_does_not_cost_the_image(encoding, letter):
    content = encode_image(noise(), encoding, letter * 100_001 + "Steps: 4")
    assert decode_image(content, "p").size == (24, 20)
    assert "Steps: 4".encode("utf-8" if encoding.lossless else "utf-16-be") in content or encoding.lossless
