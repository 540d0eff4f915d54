"""Grammar of formulas: numbers, scorers' names, + - * / **, sqrt, min, max, abs and parentheses; no eval.

The operators bind as in Python: ``**`` first and from the right, then a sign, then ``* /``, then ``+ -``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.messages import shown

FUNCTIONS: Mapping[str, Callable[..., float]] = {"sqrt": math.sqrt, "min": min, "max": max, "abs": abs}
"""Name -> function. ``min`` and ``max`` take two values or more, the others one."""

MAX_LENGTH = 1000
"""Characters of a formula."""

MAX_DEPTH = 50
"""Operators, functions and parentheses inside each other."""

_CALLS: Mapping[str, Callable[..., float]] = {
    **FUNCTIONS,
    "negative": lambda operand: -operand,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    # Python's ** gives complex numbers, and takes minutes for large integers.
    "**": math.pow,
}

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/(),]))", re.ASCII
)

Instruction = tuple[str, Any]
"""(``number``, value), (``name``, scorer's name), or (operator or function, number of its operands)."""


class BadFormula(ValueError):
    """A text that is no formula."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula over scores."""

    text: str
    names: frozenset[str]
    """The scores that it reads."""
    program: tuple[Instruction, ...] = field(repr=False)
    """In postfix order: operands before what is applied to them. It is as long as the text, however deep."""

    def value(self, scores: Mapping[str, float | None]) -> float | None:
        """Its value; None if a score that it reads is None or absent, or if the value is not a finite number."""
        if any(scores.get(name) is None for name in self.names):
            return None
        try:
            value = float(_run(self.program, scores))
        except (ZeroDivisionError, OverflowError, ValueError):
            return None
        return value if math.isfinite(value) else None


def parse(text: str) -> Formula:
    """Parse a formula. Raises BadFormula that names the place and what may stand there."""
    if len(text) > MAX_LENGTH:
        raise BadFormula(f"a formula of {len(text):,} characters is too long: at most {MAX_LENGTH:,} are allowed")
    parser = _Parser(text)
    parser.sum(0)
    parser.expect_end()
    names = frozenset(content for kind, content in parser.program if kind == "name")
    return Formula(text, names, tuple(parser.program))


def _run(program: Sequence[Instruction], scores: Mapping[str, Any]) -> float:
    stack: list[float] = []
    for kind, content in program:
        if kind == "number":
            stack.append(content)
        elif kind == "name":
            stack.append(scores[content])
        else:
            operands = stack[-content:]
            del stack[-content:]
            stack.append(_CALLS[kind](*operands))
    return stack[0]


class _Parser:
    """Recursive descent over the text's tokens, one method per level of binding."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.program: list[Instruction] = []
        self._tokens = list(self._read(text))
        self._next = 0

    def sum(self, depth: int) -> None:
        self._product(depth)
        while sign := self._take("+", "-"):
            self._product(depth)
            self.program.append((sign, 2))

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise self._unexpected("an operator such as + or *")

    def _product(self, depth: int) -> None:
        self._signed(depth)
        while sign := self._take("*", "/"):
            self._signed(depth)
            self.program.append((sign, 2))

    def _signed(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise BadFormula(f"the formula {shown(self.text)} is nested more than {MAX_DEPTH} deep: split it into two")
        if sign := self._take("+", "-"):
            self._signed(depth + 1)
            if sign == "-":
                self.program.append(("negative", 1))
            return
        self._atom(depth)
        if self._take("**"):
            self._signed(depth + 1)
            self.program.append(("**", 2))

    def _atom(self, depth: int) -> None:
        kind, token, _ = self._peek()
        if kind == "number":
            self._next += 1
            self.program.append(("number", float(token)))
        elif kind == "name":
            self._next += 1
            if token in FUNCTIONS:
                self._call(token, depth)
            else:
                self.program.append(("name", token))
        elif self._take("("):
            self.sum(depth + 1)
            self._expect(")")
        else:
            raise self._unexpected("a number, a scorer's name, '(' or one of " + ", ".join(FUNCTIONS))

    def _call(self, name: str, depth: int) -> None:
        self._expect("(")
        self.sum(depth + 1)
        operands = 1
        while self._take(","):
            self.sum(depth + 1)
            operands += 1
        self._expect(")")
        takes_many = name in ("min", "max")
        if takes_many != (operands > 1):
            takes = "two values or more" if takes_many else "one value"
            raise BadFormula(f"the formula {shown(self.text)}: {name} takes {takes}, not {operands}")
        self.program.append((name, operands))

    def _take(self, *signs: str) -> str:
        """The next token if it is one of these signs; otherwise an empty text."""
        kind, token, _ = self._peek()
        if kind != "sign" or token not in signs:
            return ""
        self._next += 1
        return token

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(repr(sign))

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "", len(self.text))

    def _unexpected(self, allowed: str) -> BadFormula:
        kind, token, place = self._peek()
        found = "it ends" if kind == "end" else f"character {place + 1} is {shown(token)}"
        return BadFormula(f"the formula {shown(self.text)}: {found}, where {allowed} is expected")

    def _read(self, text: str) -> list[tuple[str, str, int]]:
        """(``number``, ``name`` or ``sign``, token, place) of each token."""
        tokens, place, end = [], 0, len(text.rstrip())
        while place < end:
            match = _TOKEN.match(text, place)
            if match is None:
                place += len(text[place:]) - len(text[place:].lstrip())
                raise BadFormula(
                    f"the formula {shown(text)}: character {place + 1} is {shown(text[place])}; allowed are numbers, "
                    f"scorers' names, + - * / **, {', '.join(FUNCTIONS)} and parentheses"
                )
            kind = ("number", "name", "sign")[match.lastindex - 1] if match.lastindex else ""
            tokens.append((kind, match[match.lastindex or 0], match.start(match.lastindex or 0)))
            place = match.end()
        return tokens
