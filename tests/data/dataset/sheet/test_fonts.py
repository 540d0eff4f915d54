"""Prompts of most of the world's scripts are drawn as letters, and emoji as their names."""

import shutil
from pathlib import Path

import pytest

from imagemill.data.dataset.sheet import fonts
from imagemill.data.dataset.sheet.fonts import bundled_font, has_glyph, runs, without_emoji
from tests.conftest import ROOT

SCRIPTS = {
    "Dutch and German": "een rode cirkel – “größer” Ω",  # noqa: RUF001
    "Polish": "żółty ślimak",
    "Vietnamese": "con cáo đỏ chạy ở đây",
    "Greek": "κόκκινη αλεπού",
    "Russian": "красная лиса",
    "simplified Chinese": "一只红色的狐狸在雪地里奔跑，",  # noqa: RUF001
    "traditional Chinese": "紅色圓圈與龍",
    "Japanese": "赤いキツネが雪の中を走る。",
    "Korean": "빨간 여우가 눈 속에서 달린다",
    "Arabic": "ثعلب أحمر يركض في الثلج، ١٢٣",
    "Persian": "روباه قرمز پچ گژ",
    "Hebrew": "שועל אדום רץ בשלג",
    "Thai": "สุนัขจิ้งจอกสีแดงวิ่งในหิมะ น้ำ",
    "Hindi": "लाल लोमड़ी बर्फ में दौड़ रही है",
    "signs": "½ × ÷ ≤ → € ● ★ …",  # noqa: RUF001
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=list(SCRIPTS))
def test_the_bundled_font_has_the_letters_of_a_script(text: str):
    assert [letter for letter in text if not has_glyph(bundled_font(), letter)] == []
    assert list(runs(text)) == [(bundled_font(), text)]


def test_the_bundled_font_is_small_and_has_its_licence_beside_it():
    folder = ROOT / "data" / "dataset" / "sheet"
    assert (folder / "font.ttf").stat().st_size < 3_000_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "OFL.txt").read_text()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a 🦊!", "a [fox face]!"),
        ("❤️ and 👍🏽", "[heavy black heart] and [thumbs up sign]"),
        ("👩‍💻", "[woman][personal computer]"),
        ("🇳🇱🇯🇵", "[NL][JP]"),
        ("2 + 2 ● ★", "2 + 2 ● ★"),
    ],
)
def test_an_emoji_is_its_name(text: str, named: str):
    assert without_emoji(text) == named


def test_a_letter_that_no_font_has_is_drawn_by_the_bundled_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    fonts._machine_fonts.cache_clear()
    assert list(runs("a \N{CUNEIFORM SIGN A} b")) == [(bundled_font(), "a \N{CUNEIFORM SIGN A} b")]


@pytest.mark.parametrize("listed", ["echo", "false", "missing"])
def test_letters_that_the_bundled_font_lacks_are_drawn_by_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str
):
    # Bundled fonts have no Armenian; a stand-in for fontconfig lists a font that has it, a damaged one, or none.
    dejavu = next(Path("/usr/share/fonts").rglob("DejaVuSans.ttf"), None)
    if dejavu is None:
        pytest.skip("this machine has no DejaVu Sans")
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    program = tmp_path / "fc-list"
    program.write_text(f"#!/bin/sh\n{listed} '{tmp_path}/damaged.ttf: '\n{listed} '{dejavu}: '\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program))
    fonts._machine_fonts.cache_clear()
    found = [(font.getname()[0], part) for font, part in runs("狐 աղվես, fox")]
    if listed == "echo":
        assert found == [("imagemill sheet", "狐 "), ("DejaVu Sans", "աղվես"), ("imagemill sheet", ", fox")]
    else:
        assert found == [("imagemill sheet", "狐 աղվես, fox")]
