"""Colours with a profile become the sRGB colours that they stand for; all other pixels stay as they were."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from imagemill.data.images.codec import Encoding, decode_image, encode_image, inspect_image
from imagemill.data.images.modes import READING
from tests.data.images.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    SRGB_CURVE,
    cmyk_profile,
    grey_profile,
    rgb_profile,
)

P3 = rgb_profile(DISPLAY_P3)
PILLOWS_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image, image_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def colours(mode="RGB"):
    """An image of many colours, large enough that JPEG keeps them."""
    values = np.random.default_rng(1).integers(0, 256, (8, 8, len(mode)), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    return Image.frombytes(mode, (32, 32), values.tobytes())


def pixels(content, **options):
    return np.asarray(decode_image(content, "p", **options), np.int16)


def in_srgb(linear):
    """sRGB's values, 0 to 255, of linear light."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear_srgb(values):
    values = values / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    ("colorants", "curve", "linear"),
    [
        (DISPLAY_P3, SRGB_CURVE, linear_srgb),
        (ADOBE_RGB, 563 / 256, lambda values: (values / 255) ** (563 / 256)),
        (SRGB, 1.8, lambda values: (values / 255) ** 1.8),
    ],
    ids=["Display P3", "Adobe RGB", "sRGB's primaries, gamma 1.8"],
)
def test_colours_with_a_profile_become_the_same_colours_in_srgb(colorants, curve, linear):
    image = colours()
    xyz = linear(np.asarray(image, float)) @ np.array(colorants).T
    expected = in_srgb(xyz @ np.linalg.inv(np.array(SRGB)).T)
    found = pixels(saved(image, icc_profile=rgb_profile(colorants, curve)))
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - np.asarray(image)).max() > 15


def test_greys_with_a_profile_become_the_same_greys_in_srgb():
    image = colours("L")
    expected = in_srgb((np.asarray(image, float) / 255) ** 1.8)
    found = pixels(saved(image, icc_profile=grey_profile(1.8)))
    assert np.abs(found - expected[..., None]).max() <= 2


def test_inks_with_a_profile_become_the_colours_that_it_describes():
    magenta_and_yellow, dull = Image.new("CMYK", (16, 16), (0, 255, 255, 0)), 0.2
    found = pixels(saved(magenta_and_yellow, "TIFF", icc_profile=cmyk_profile(dull)))[0, 0]
    # Lab of that corner in the profile, by the definition of Lab under D50.
    light, a, b = 45.0, 70 * (1 - dull), 70 * (1 - dull)
    y = (light + 16) / 116
    xyz = np.array([(y + a / 500) ** 3 * 0.9642, y**3, (y - b / 200) ** 3 * 0.8249])
    # The darkest ink is mapped to black, which darkens everything a little.
    assert np.abs(found - in_srgb(np.linalg.inv(np.array(SRGB)) @ xyz)).max() <= 12
    assert pixels(saved(magenta_and_yellow, "TIFF"))[0, 0].tolist() == [255, 0, 0]


def test_white_and_black_stay_white_and_black():
    for value in (0, 255):
        assert pixels(saved(Image.new("RGB", (4, 4), (value,) * 3), icc_profile=P3))[0, 0].tolist() == [value] * 3
    assert pixels(saved(Image.new("CMYK", (4, 4)), "TIFF", icc_profile=cmyk_profile(0.2))).min() == 255


@pytest.mark.parametrize("profile", [PILLOWS_SRGB, rgb_profile(SRGB)], ids=["Pillow's", "another"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_srgb_profile_changes_no_pixel(profile, mode, tmp_path):
    image = colours(mode)
    content = saved(image, icc_profile=profile)
    assert (pixels(content) == pixels(saved(image))).all()
    (tmp_path / "a.png").write_bytes(content)
    assert inspect_image(tmp_path / "a.png")[3:] == (None, True)


@pytest.mark.parametrize(
    ("profile", "mode"),
    [(b"no profile", "RGB"), (P3[:300], "RGB"), (P3, "L"), (grey_profile(1.8), "RGB"), (bytes(2**25), "RGB")],
    ids=["not one", "cut off", "for colours, of a grey", "for greys, of colours", "of 32 MiB"],
)
def test_a_profile_that_cannot_be_used_counts_as_none(profile, mode, tmp_path):
    image = colours(mode)
    content = saved(image, "TIFF", icc_profile=profile)
    assert (pixels(content) == pixels(saved(image))).all()
    (tmp_path / "a.tif").write_bytes(content)
    assert inspect_image(tmp_path / "a.tif")[3:] == (None, False)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_every_format_with_a_profile_is_converted(image_format, tmp_path):
    content = saved(Image.new("RGB", (32, 32), (60, 160, 70)), image_format, icc_profile=P3)
    assert np.abs(pixels(content)[16, 16] - (0, 163, 55)).max() <= 3
    (tmp_path / "a").write_bytes(content)
    assert inspect_image(tmp_path / "a").reading == READING


def test_a_palette_is_converted():
    image = Image.new("RGB", (4, 4), (60, 160, 70)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.abs(pixels(saved(image, icc_profile=P3))[0, 0] - (0, 163, 55)).max() <= 1


def test_a_transparent_image_is_converted_before_it_is_put_on_white():
    image = Image.new("RGBA", (4, 4), (60, 160, 70, 128))
    assert np.abs(pixels(saved(image, icc_profile=P3))[0, 0] - (127, 209, 155)).max() <= 2


def test_a_turned_photograph_is_converted_and_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (32, 16), (60, 160, 70))
    decoded = decode_image(saved(image, "JPEG", icc_profile=P3, exif=exif), "p")
    assert decoded.size == (16, 32)
    assert np.abs(np.asarray(decoded, int)[16, 8] - (0, 163, 55)).max() <= 3


def test_a_converted_image_has_no_profile_that_would_be_applied_again():
    decoded = decode_image(saved(colours(), icc_profile=P3), "p")
    again = encode_image(decoded, Encoding("png"), "")
    assert "icc_profile" not in Image.open(io.BytesIO(again)).info
    assert (pixels(again) == np.asarray(decoded)).all()


def test_version_1_ignores_profiles():
    image = colours()
    assert (pixels(saved(image, icc_profile=P3), reading=1) == np.asarray(image)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr", "LAB", "transparent L"])
def test_an_image_without_a_profile_has_the_pixels_of_version_1(mode):
    image_format = "PNG" if mode in ("1", "L", "LA", "P", "RGB", "RGBA", "transparent L") else "TIFF"
    options = {"transparency": 100} if mode == "transparent L" else {}
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(1).integers(0, 2**16, (32, 32), dtype=np.uint16))
    elif mode in ("LA", "RGBA", "CMYK"):
        image = colours(mode)
    else:
        image = colours().convert(mode.removeprefix("transparent ") if mode != "LAB" else "RGB")
    if mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(image, lab)
    content = saved(image, image_format, **options)
    assert (pixels(content) == pixels(content, reading=1)).all()
