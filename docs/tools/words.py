"""Wording rules for check_words.py: patterns, each with a better word, and the places where a pattern is right."""

from __future__ import annotations

import re

OPENINGS = re.compile(r"\A\s*(?:What|How|Where|Which|Who|Whether)\b")
"""Openings of a docstring that name no role."""

HEADINGS = re.compile(r"^#+ (?:What|How|Which|Who|Whether|Where(?! to| things| do))\b", re.M)
"""The same of a page's headings."""

_BETTER = {
    # The glossary of docs/architecture.md.
    r"pictures?": "image",
    r"draw|draws|drew|drawn": "generate",
    r"somebody|someone(?! else)|nobody|no one|persons?|people": "user, or the part that acts",
    r"whoever|(?:those|one|all) who": "user, or the part that acts",
    r"asked for": "requested, needed",
    r"(?:is|are|was|were|makes?|has|have|had|no) room": "free memory, free space, fit",
    r"memory of (?:texts|sources|rows)": "cache",
    r"tidy|tidying|tidied|tidies": "compact",
    r"under way": "in flight, running",
    r"(?:hold|holds|held|holding) (?:[\w-]+ ){1,3}against": "compare, verify",
    r"told|tells|telling|tell": "report, log, message, distinguish",
    r"patience": "timeout",
    # Idioms of another language.
    r"(?:of|on) one's own|of (?:its|their|your|his|her|our) own": "separate, private, dedicated",
    r"what (?:was|were)": "a noun",
    r"(?:what|that|which) (?:is|are) there(?! (?:are|is))": "existing",
    r"that there (?:is|are) not": "unknown, missing",
    r"at the (?:most|least)": "at most, at least",
    r"so many": "that many, the number",
    r"(?<=, )for one(?=,)": "for example",
    r"(?<=[,;] )else|or else|and else": "otherwise, or",
    r"says? (?:of|nothing)|said": "state, report, describe",
    r"(?:look|looks|looked|looking) at": "read, inspect, check",
    r"(?:go|goes|went|going) on": "continue",
    r"anew": "again",
    r"surely": "reliably, certainly",
    r"got": "receive, have",
    r"spare|spares|spared": "save, avoid",
    r"mend|mends|mended": "repair, fix",
    r"in the very": "exactly",
    r"at one stroke": "atomically",
    r"(?:takes?|took|taking) hold of": "lock",
    r"by then": "when",
    r"it is for you to": "you",
    # A diary: the present state is enough.
    r"(?:was|were) tried|untried": "tested, untested",
    r"before this (?:change|version)": "before VERSION",
    r"seen(?=: )": "in one run",
    r"it turned out": "leave it out",
}
WORDS = [(re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.I), better) for pattern, better in _BETTER.items()]

_ALLOWED = (
    # Beginning of a path, text that is right there, reason.
    (
        "models/bundled/",
        "draws?|drew|drawn|pictures?|in the very",
        "a script draws its world, and users type its texts",
    ),
    (
        "docs/architecture.md",
        "draw|pictures?|persons?|somebody|tidying|under way|tell|patience",
        "the glossary names the words to avoid, and a promise is named draw once",
    ),
    ("data/dataset/sheet/", "draws?|drawn", "Pillow draws the contact sheet's texts"),
    ("data/config/judging/select.py", "draw", "name of a field, select.draw"),
    ("tasks/runner/worker.py", "draw", "name of a method, GpuTaskRunner.draw"),
    ("models/drawing/api.py", "draw", "name of a module, models.drawing.draw"),
)
ALLOWED = [(place, re.compile(pattern, re.I)) for place, pattern, _ in _ALLOWED]
