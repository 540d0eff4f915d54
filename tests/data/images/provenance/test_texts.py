"""Each encoding version has its texts, the first for ever; an image in another format has those of its PNG."""

import io

import pytest
from PIL import Image

from imagemill.data.images.codec import Encoding, encode_image
from imagemill.data.images.provenance import version_1
from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.images.provenance.texts import provenance, read_provenance
from imagemill.data.records import Drawing

DRAWING = Drawing("k", "a fox\nSteps: 99", 7, 4, negative_prompt="blur", guidance_scale=3.5, of_given=True)
IMAGE = Image.new("RGB", (8, 6), "red")


def texts(version):
    return provenance(DRAWING, (8, 6), "bundled", ModelDetails("abc", "Euler", 0.5), version)


def test_version_1_is_as_it_was():
    found = texts(1)
    assert found.parameters == (
        "a fox\nSteps: 99\nNegative prompt: blur\n"
        "Steps: 4, CFG scale: 3.5, Seed: 7, Size: 8x6, Model: bundled, Version: imagemill"
    )
    assert "digitalsourcetype/trainedAlgorithmicMedia<" in found.xmp
    assert "AISystemUsed" not in found.xmp


# Pillow's own EXIF, with the type that it gives the user comment.
@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_the_exif_of_version_1_is_as_it_was(image_format):
    content = encode_image(IMAGE, Encoding(image_format, 90, version=1), *texts(1))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + texts(1).parameters.encode("utf-16-be")
    written = Image.open(io.BytesIO(content)).info["exif"]
    assert written.removeprefix(b"Exif\0\0") == exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("version", [1, 2])
def test_the_texts_of_a_png_are_read_back(version):
    content = encode_image(IMAGE, Encoding("png"), *texts(version))
    assert read_provenance(content, "p") == texts(version)


@pytest.mark.parametrize("xmp", [None, "<a/>" * 30_000])
def test_a_png_whose_texts_are_not_a_build_s_gives_none_that_cannot_be_written(xmp):
    buffer = io.BytesIO()
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp)
    IMAGE.save(buffer, "PNG", pnginfo=chunks)
    found = read_provenance(buffer.getvalue(), "p")
    assert found == ("", version_1.XMP)
    assert encode_image(IMAGE, Encoding("jpeg", 90), *found)[:2] == b"\xff\xd8"
