"""Colour shift between a photograph with a Display P3 profile and its unchanged edit: python -m benchmarks.colour

The photograph is synthetic: sky, foliage, skin and a red cloth, each a gradient with grain, in Display P3. What it
shows is computed from the profile's definition in floating point. Its unchanged edit is what a model is given, in the
dataset's PNG, first without the conversion of profiles (version 1) and then with it.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from imagemill.data.images.codec import Encoding, decode_image, encode_image
from imagemill.data.images.modes import READING
from tests.data.images.profiles import DISPLAY_P3, SRGB, rgb_profile

SIDE = 512
SCENE = {
    "sky": ((70, 130, 220), (185, 215, 245)),
    "foliage": ((30, 80, 25), (130, 180, 60)),
    "skin": ((110, 65, 45), (245, 205, 180)),
    "red cloth": ((120, 10, 20), (230, 40, 50)),
}
"""Part -> its darkest and its lightest colour, as an iPhone's camera writes them in Display P3."""


def photograph() -> np.ndarray:
    """The photograph's values: four bands of a gradient each, with grain of 3 levels."""
    rng, band = np.random.default_rng(1), SIDE // len(SCENE)
    light = np.linspace(0, 1, SIDE)[None, :, None]
    rows = [np.broadcast_to(np.array(a) + (np.array(b) - a) * light, (band, SIDE, 3)) for a, b in SCENE.values()]
    values = np.concatenate(rows) + rng.normal(0, 3, (SIDE, SIDE, 3))
    return values.round().clip(0, 255).astype(np.uint8)


def in_srgb(values: np.ndarray) -> np.ndarray:
    """The sRGB values of Display P3's, in floating point."""
    scaled = values / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    shown = np.clip(linear @ np.array(DISPLAY_P3).T @ np.linalg.inv(np.array(SRGB)).T, 0, 1)
    return 255 * np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)


def main() -> None:
    """Print the mean and the largest shift of each part, in levels of 255."""
    values, buffer = photograph(), io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", icc_profile=rgb_profile(DISPLAY_P3))
    shown, band = in_srgb(values), SIDE // len(SCENE)
    for reading, name in ((1, "without conversion"), (READING, "with conversion")):
        source = decode_image(buffer.getvalue(), "photograph", reading=reading)
        # As from a model: pixels without the source's metadata.
        generated = Image.fromarray(np.asarray(source))
        edited = decode_image(encode_image(generated, Encoding("png"), ""), "edit")
        shift = np.abs(np.asarray(edited, float) - shown)
        parts = {part: shift[at * band : (at + 1) * band] for at, part in enumerate(SCENE)}
        text = ", ".join(f"{part} {part_shift.mean():.2f}" for part, part_shift in parts.items())
        print(f"{name}: mean {shift.mean():.2f} of 255, largest {shift.max():.0f} ({text})")


if __name__ == "__main__":
    main()
