"""Languages are guessed where letters or words decide, and not otherwise."""

import pytest

from imagemill.data.dataset.describe.languages import language_of, languages_of
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a large red fox in the snow", "en"),
        ("make the background blue", "en"),
        ("ein großer roter Fuchs im Schnee", "de"),
        ("un renard roux dans la neige avec une maison", "fr"),
        ("el zorro rojo corre por la nieve con una casa", "es"),
        ("la volpe rossa nella neve con gli alberi", "it"),
        ("uma raposa vermelha na neve com as casas", "pt"),
        ("een rode vos in de sneeuw met het huis", "nl"),
        ("一只红色的狐狸", "zh"),
        ("赤いキツネ", "ja"),
        ("빨간 여우", "ko"),
        ("ثعلب أحمر في الثلج", "ar"),
        ("روباه قرمز در برف چگونه", "fa"),
        ("שועל אדום", "he"),
        ("สุนัขจิ้งจอก", "th"),
        ("लाल लोमड़ी", "hi"),
        ("κόκκινη αλεπού", "el"),
        ("красная лиса", "ru"),
        ("червона лисиця в лісі", "uk"),
        ("con cáo đỏ trong tuyết", "vi"),
        ("red fox, 8k, masterpiece", None),
        ("\u03b1 = 3", None),
        ("", None),
    ],
)
def test_a_language_is_guessed(text, language):
    assert language_of(text) == language


def test_languages_are_named_by_frequency_and_rare_ones_are_left_out():
    texts = ["a fox in the snow"] * 60 + ["一只红色的狐狸"] * 39 + ["赤いキツネ"] + ["8k"] * 900
    assert languages_of(texts) == ("en", "zh")
    assert languages_of(["8k"]) == ()


def test_the_sample_of_real_prompts_is_english():
    prompts = [line.split("\t")[0] for line in (ROOT / "data/samples/parti-64.tsv").read_text().splitlines()[1:]]
    assert languages_of(prompts) == ("en",)
