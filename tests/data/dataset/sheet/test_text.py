"""Texts are laid out in lines of a width in pixels, in the direction of their script."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagemill.data.dataset.sheet.text import LINE, draw_lines, is_right_to_left, shown, width_of, wrap

LONG = {
    "words": "a large red fox that runs over the snow below a very old bridge",
    "one word": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "Chinese": "一只红色的狐狸在雪地里奔跑远处有一座蓝色的山天空中飘着白云画面温暖而宁静",
    "Thai": "สุนัขจิ้งจอกสีแดงวิ่งในหิมะใต้แสงจันทร์ข้างบ้านไม้หลังเล็กในป่า",
    "Arabic": "ثعلب أحمر يركض في الثلج تحت ضوء القمر بجانب بيت صغير في الغابة",
}


@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_no_line_is_wider_than_its_cell_and_no_letter_is_lost(text: str):
    lines = wrap(text, 160, 100)
    assert len(lines) > 1
    assert max(map(width_of, lines)) <= 160
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize("text", LONG.values(), ids=list(LONG))
def test_a_text_that_is_cut_ends_with_an_ellipsis(text: str):
    lines = wrap(text * 3, 160, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert width_of(lines[-1]) <= 160


def test_a_line_of_chinese_does_not_begin_with_a_comma():
    text = "一只红色的狐狸\uff0c在雪地里奔跑\uff0c远处有山。"
    lines = [line for width in range(60, 160, 4) for line in wrap(text, width, 9)]
    assert not [line for line in lines if line[0] in "\uff0c。"]


def test_a_line_does_not_begin_with_a_mark():
    lines = [line for width in range(20, 60) for line in wrap("น้ำจิ้งจิ้ง" * 3, width, 99)]
    assert not [line for line in lines if line[0] in "้ิ่"]


def test_lines_and_controls_in_a_prompt_are_not_shown():
    assert shown("two\nlines\tand \u202eevil\u202c\x00\ud800") == "two lines and evil"
    assert shown(None) == ""
    assert wrap(shown(" \n "), 160, 4) == []


def test_the_first_letter_with_a_direction_decides():
    assert is_right_to_left("123, שועל a fox")
    assert not is_right_to_left("123, a fox שועל")
    assert not is_right_to_left("狐 123")


@pytest.mark.parametrize(("text", "side"), [("שועל", "right"), ("a fox", "left")])
def test_a_text_from_the_right_is_right_aligned(text: str, side: str):
    page = Image.new("L", (200, LINE), "white")
    draw_lines(ImageDraw.Draw(page), (20, 0), [text], 160)
    dark = np.flatnonzero((np.asarray(page) < 128).any(axis=0))
    assert (dark[0] < 25) == (side == "left")
    assert (dark[-1] > 175) == (side == "right")


def test_words_of_the_other_direction_keep_their_place_in_a_sentence():
    # Hebrew sentences read the Latin word last, so it is on the left.
    def drawn(text: str) -> np.ndarray:
        page = Image.new("L", (200, LINE), "white")
        draw_lines(ImageDraw.Draw(page), (20, 0), [text], 160)
        return np.asarray(page)

    word = drawn("XXX")
    both = drawn("שועל XXX")
    dark = np.flatnonzero((word < 128).any(axis=0))
    width = dark[-1] - dark[0]
    left = np.flatnonzero((both < 128).any(axis=0))[0]
    assert np.array_equal(both[:, left : left + width], word[:, dark[0] : dark[0] + width])
