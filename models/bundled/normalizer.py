"""Normaliser of the bundled model's tokenizer: capitals, punctuation and synonyms, rewritten into words that it knows.

It is data in `tokenizer.json`, so that a plain load has it too. The rules run in this order, each over the whole text.
"""

from __future__ import annotations

from tokenizers import Regex, normalizers

from imagemill.models.bundled.scenes import COLOURS, SHAPES

BACKGROUND = "background_{}"
"""Prefix for a background's colour: then the order of the two colours does not matter."""

SYNONYMS = {
    "large": ("big", "huge", "giant", "enormous", "massive", "oversized"),
    "small": ("little", "tiny", "mini", "miniature", "teeny", "wee"),
    "larger": ("bigger", "huger"),
    "smaller": ("tinier", "littler"),
    "circle": ("disc", "disk", "dot", "ball", "round shape", "round"),
    "square": ("box", "square shape"),
    "triangle": ("triangular shape", "triangle shape"),
    "ring": ("donut", "doughnut", "hoop", "annulus", "ring shape"),
    "cross": ("plus sign", "plus", "cross shape"),
    "star": ("star shape",),
    "red": ("crimson", "scarlet", "ruby"),
    "orange": ("tangerine", "amber"),
    "yellow": ("golden", "gold", "lemon"),
    "green": ("emerald", "lime"),
    "blue": ("navy", "azure", "cobalt"),
    "purple": ("violet", "lilac", "lavender", "mauve"),
    "black": ("jet black", "ebony"),
    "white": ("ivory", "snow white"),
    "colour": ("color",),
    "background": ("colour of the background", "background colour", "backdrop", "canvas", "bg"),
    "coloured": ("colored", "in the colour"),
    "recolour": ("recolor",),
    "in the centre": ("centred", "centered", "central", "in the very centre"),
    "left": ("lefthand", "left hand", "leftmost"),
    "right": ("righthand", "right hand", "rightmost"),
    "side": ("part", "half", "area", "region", "section"),
    "picture": ("image", "photo", "drawing", "illustration", "pic", "icon"),
    "paint": ("dye", "tint"),
    "change": ("set", "switch", "convert", "transform", "alter"),
    "replace": ("exchange",),
    "enlarge": ("expand", "scale up", "size up"),
    "shrink": ("reduce", "scale down", "size down"),
    "is": ("should be", "must be", "shall be", "should become", "must become", "becomes"),
    "a": ("an", "one", "some"),
}
"""A word that the model knows, and what it stands for. A longer phrase comes before a shorter one that it contains."""

UNSAID = (
    *("and keep everything else the same", "and keep everything else", "and nothing else", "keep the rest"),
    *("a bit", "a little bit", "slightly", "much", "quite", "very", "really"),
    *("just", "now", "please", "only", "single"),
    *("nice", "simple", "solid", "bright", "dark", "light", "deep", "pale"),
    *("show me", "draw me", "give me", "draw", "generate", "create", "i want", "i would like", "can you", "could you"),
)
"""Words that change nothing of what these scenes can show: they are passed over."""

PLACE_WORDS = (
    *("in", "on", "at", "to", "near", "the", "left", "right", "top", "bottom", "upper", "lower"),
    *("centre", "center", "middle", "side", "edge"),
)
"""Words that name a place."""

EDIT_VERBS = ("make", "turn", "paint", "change", "colour", "recolour", "replace", "swap", "let", "put")
"""Words that an edit begins with."""


def _words(phrases) -> str:
    """A pattern for any of the phrases as whole words."""
    return rf"\b(?:{'|'.join(sorted(phrases, key=len, reverse=True))})\b"


def rules() -> list[tuple[str, str]]:
    """Patterns and what each becomes."""
    colour = _words(COLOURS)
    said_already = rf"\b(?:background|instead|is|on (?:plain |a )?{colour})\b"
    return [
        (r"\bbackground ?[:=]", "background is "),
        (r"[^\p{L}\p{N}]+", " "),
        (r"^ | $", ""),
        (r" ?" + _words(UNSAID), ""),
        (r"^ ", ""),
        *((_words(others), word) for word, others in SYNONYMS.items()),
        # "on black", "over a black background" and the like, as the model learnt them first.
        (rf"\bplain (?={colour} background\b)", ""),
        (rf"\b(?:on|with|against|over|in front of|upon|before)(?: a| the)? (?={colour} background\b)", "on a "),
        (rf"\b(?:on|against|over|upon|before)(?: a| plain)? (?={colour}(?! background)\b)", "on plain "),
        (rf"(?<=\b(?:{'|'.join(COLOURS)})) behind(?: it)?\b", " background"),
        # "red circle, left, black": the second colour of a prompt, at its end, is said of the background. In texts
        # of a bounded length, since the pattern tries every pair of words.
        (
            rf"^(?=.{{,200}}$)(?!{_words(EDIT_VERBS)})(?!.*{said_already})(?=.*{_words(SHAPES)})"
            rf".*{colour}.* \K(?<!on |plain |coloured |to |into |with |and |a )(?={colour}$)",
            "on plain ",
        ),
        # "a circle in red"
        (rf"\bin (?={colour}\b)", "coloured "),
        *_background_rules(),
        # A white shape, and nothing else, on black.
        (
            rf"^(?:a |picture of a )*(?:(?:large|small) )?white {_words(SHAPES)}(?: (?:large|small))?"
            rf"(?: (?:{'|'.join(PLACE_WORDS)}))*\K$",
            " on plain background_black",
        ),
    ]


def _background_rules() -> list[tuple[str, str]]:
    """Patterns that find the background's colour by its place in the text."""
    colour, any_colour = _words(COLOURS), rf"\b(?:background_)?(?:{'|'.join(COLOURS)})\b"
    thing = _words((*SHAPES, "large", "small"))
    # Of "red background blue circle" and "circle red background blue", the first is on red and the second on blue.
    second = rf" background (?={any_colour}(?! {thing}))"
    behind_a_colour = "|".join(f"{name} background " for name in COLOURS)
    rules = [
        (rf"\bbackground(?: is| be| to| in| into| for| coloured)?(?: a| plain)* (?={colour})", "background "),
        (rf"\bbackground from {colour} to (?={colour})", "background "),
        (rf"\bbackground with (?={colour}(?: instead)?$)", "background "),
    ]
    for name in COLOURS:
        places = [
            rf"\b{name}(?= background\b)(?!{second})",
            rf"(?<=\bon plain ){name}\b",
            rf"\b{name}(?= as (?:the |a )?background\b)",
            rf"(?<=\bbackground )(?<!{behind_a_colour}){name}\b",
            rf"(?<={behind_a_colour}){name}\b(?! {thing})",
        ]
        rules.append(("|".join(places), BACKGROUND.format(name)))
    return rules


def make_normalizer() -> normalizers.Normalizer:
    steps = [normalizers.Replace(Regex(pattern), content) for pattern, content in rules()]
    return normalizers.Sequence([normalizers.Lowercase(), *steps])
