"""Builder of the contact sheet's font: a subset of Noto fonts in one file. Run once, and again only for other scripts.

    apt-get download fonts-noto-core fonts-noto-cjk     # of Debian 12: 20201225-1 and 1:20220127+repack1-1
    for package in *.deb; do dpkg -x "$package" NOTO; done
    pip install fonttools==4.68.0
    python tests/data/dataset/sheet/make_font.py NOTO data/dataset/sheet/font.ttf

One file rather than one per script, so that a line with several scripts is shaped and ordered as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fontTools import subset
from fontTools.merge import Merger
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont, newTable
from fontTools.ttLib.scaleUpem import scale_upem

UNITS = 256
"""Per em: coordinates of one byte, a third of the file, and finer than a pixel in any size of the sheet."""

NAME = "imagemill sheet"


def ranges(*pairs: tuple[int, int]) -> list[int]:
    return [code for first, last in pairs for code in range(first, last + 1)]


def in_charset(codec: str, rows: Iterable[int]) -> Iterator[int]:
    """The characters in these rows (first bytes) of a national character set of two bytes."""
    for high in rows:
        for low in range(0x40, 0xFF):
            try:
                text = bytes([high, low]).decode(codec)
            except UnicodeDecodeError:
                continue
            yield from map(ord, text)


LATIN = ranges((0x20, 0x7E), (0xA0, 0x24F), (0x259, 0x259), (0x2B0, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF))
LATIN += ranges((0x400, 0x4FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x20CF), (0x2100, 0x214F))
LATIN += [0x2212, 0x25CC, 0xFFFD]
SCRIPTS = {
    "NotoSans-Regular.ttf": LATIN,
    "NotoSansHebrew-Regular.ttf": ranges((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    "NotoSansArabic-Regular.ttf": ranges((0x600, 0x6FF), (0x750, 0x77F), (0xFDFC, 0xFDFD)),
    "NotoSansThai-Regular.ttf": ranges((0xE00, 0xE7F)),
    "NotoSansDevanagari-Regular.ttf": ranges((0x900, 0x97F), (0x1CD0, 0x1CFF)),
    "NotoSansSymbols2-Regular.ttf": ranges((0x25A0, 0x25FF)),
}
# Chinese, simplified and traditional, as both states' first character sets have it; Japanese; Korean.
CJK = sorted(
    {
        *[ord(sign) for sign in "←↑→↓⇒√∞≈≠≤≥★☆♥♪"],
        *ranges((0x3000, 0x303F), (0x3040, 0x30FF), (0x3131, 0x318E), (0xFF01, 0xFF60)),
        *in_charset("gb2312", range(0xB0, 0xF8)),
        *in_charset("big5", range(0xA4, 0xC7)),
        *in_charset("euc_jp", range(0xB0, 0xD0)),
        *in_charset("euc_kr", range(0xB0, 0xC9)),
    }
)


def main(noto: Path, target: Path) -> None:
    with TemporaryDirectory() as folder:
        parts = []
        for name, codes in SCRIPTS.items():
            font = TTFont(next(noto.rglob(name)))
            parts.append(save(reduced(font, codes), Path(folder, name)))
        cjk = TTCollection(next(noto.rglob("NotoSansCJK-Regular.ttc"))).fonts
        simplified = next(font for font in cjk if font["name"].getDebugName(1) == "Noto Sans CJK SC")
        parts.append(save(reduced(simplified, CJK, features=[]), Path(folder, "cjk.ttf")))
        merged = Merger().merge([str(part) for part in parts])
    rename(merged)
    merged.save(target)
    print(f"{target}: {target.stat().st_size:,} bytes, {len(merged.getBestCmap()):,} characters")


def reduced(font: TTFont, codes: Iterable[int], features: list[str] | None = None) -> TTFont:
    """Only these characters, as TrueType outlines, without hints."""
    vertical = ["vhea", "vmtx", "VORG", "BASE"]
    options = subset.Options(
        hinting=False, notdef_outline=True, glyph_names=False, name_IDs=[1, 2], drop_tables=vertical
    )
    if features is not None:
        options.layout_features = features
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=codes)
    subsetter.subset(font)
    if "CFF " in font:
        to_truetype(font)
    scale_upem(font, UNITS)
    return font


def to_truetype(font: TTFont) -> None:
    glyphs, outlines = font.getGlyphSet(), {}
    for name in font.getGlyphOrder():
        pen = TTGlyphPen(None)
        glyphs[name].draw(Cu2QuPen(pen, max_err=10.0, reverse_direction=True))
        outlines[name] = pen.glyph(dropImpliedOnCurves=True)
    font["loca"], font["glyf"] = newTable("loca"), newTable("glyf")
    font["glyf"].glyphOrder, font["glyf"].glyphs = font.getGlyphOrder(), outlines
    del font["CFF "]
    maxp = font["maxp"]
    maxp.tableVersion, maxp.maxZones = 0x00010000, 1
    for name in (
        *("maxTwilightPoints", "maxStorage", "maxFunctionDefs", "maxInstructionDefs", "maxStackElements"),
        *("maxSizeOfInstructions", "maxComponentElements", "maxPoints", "maxContours", "maxCompositePoints"),
        *("maxCompositeContours", "maxComponentDepth"),
    ):
        setattr(maxp, name, 0)
    font.sfntVersion = "\000\001\000\000"
    font["post"].formatType = 3.0
    for name, (advance, _) in list(font["hmtx"].metrics.items()):
        glyph = outlines[name]
        glyph.recalcBounds(font["glyf"])
        font["hmtx"].metrics[name] = (advance, getattr(glyph, "xMin", 0) or 0)


def save(font: TTFont, path: Path) -> Path:
    font.save(path)
    return path


def rename(font: TTFont) -> None:
    texts = {
        0: "Copyright 2015-2020 Google LLC (Noto Sans), 2014-2021 Adobe (Noto Sans CJK)",
        1: NAME,
        2: "Regular",
        3: f"{NAME} 1",
        4: NAME,
        5: "Version 1.0",
        6: NAME.replace(" ", "-"),
        13: "SIL Open Font License, Version 1.1",
        14: "https://openfontlicense.org",
    }
    table = newTable("name")
    table.names = []
    for number, text in texts.items():
        table.setName(text, number, 3, 1, 0x409)
    font["name"] = table


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
