"""Languages of a dataset's prompts, guessed from their letters and their most frequent words, for its card."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MIN_SHARE = 0.02
"""Share of the prompts from which on a language is named: below, it may be a name or a mistake of the guess."""

# Checked in this order: Japanese and Persian have signs of their own among those of Chinese and Arabic.
_SIGNS = {
    "ja": re.compile("[\u3041-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7a3]"),
    "zh": re.compile("[\u4e00-\u9fff]"),
    "th": re.compile("[\u0e01-\u0e5b]"),
    "he": re.compile("[\u05d0-\u05ea]"),
    "fa": re.compile("[\u067e\u0686\u0698\u06af\u06cc]"),
    "ar": re.compile("[\u0621-\u064a]"),
    "hi": re.compile("[\u0905-\u0939]"),
    "el": re.compile("[\u03b1-\u03c9\u03ac-\u03ce]{3}"),
    "uk": re.compile("[\u0454\u0456\u0457\u0491]"),
    "ru": re.compile("[\u0430-\u044f]{3}"),
    "vi": re.compile("[\u0111\u01a1\u01b0\u1ea0-\u1ef9]"),
}

# Words that few of the other languages have.
_WORDS = {
    "en": "a an the of with and in on at by is its from to into over under near behind make it add remove",
    "de": "ein eine einen einem einer der das und mit auf im von zu ist den dem unter \u00fcber f\u00fcr mach",
    "fr": "un une le les des du avec et dans sur au aux est sous pour d l la de",
    "es": "un una el los las del con y en sobre al es bajo para la de",
    "it": "un una il lo gli della di con e nel nella sul su che sotto la",
    "pt": "um uma o os as da do com e em no na sobre para ao de",
    "nl": "een het van met en op in bij naar onder over de is maak",
}
_SETS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where its letters and words do not decide."""
    for language, signs in _SIGNS.items():
        if signs.search(text):
            return language
    words = _WORD.findall(text.lower())
    votes = sorted(
        ((sum(word in known for word in words), language) for language, known in _SETS.items()), reverse=True
    )
    (most, language), (second, _) = votes[:2]
    return language if most > second else None


def languages_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The languages of these texts, the most frequent first; those of few texts are left out."""
    found = Counter(language for text in texts if (language := language_of(text)))
    total = sum(found.values())
    return tuple(language for language, count in found.most_common() if count >= MIN_SHARE * total)
