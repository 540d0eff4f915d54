"""A formula is parsed by a grammar of ours, binds as in Python, and is null where it has no finite value."""

import math
import random

import pytest

from imagemill.data.config.judging.formula import MAX_DEPTH, BadFormula, parse

SCORES = {"fits": 0.25, "keeps": 4.0, "looks": -3.0, "none": None, "zero": 0.0}


@pytest.mark.parametrize(
    "text",
    [
        "1", "1.", ".5", "1e3", "2.5E-1", "fits", " fits ", "fits + keeps", "1 - 2 - 3", "8 / 4 / 2", "2 + 3 * 4",
        "(2 + 3) * 4", "2 ** 3 ** 2", "-2 ** 2", "2 ** -1", "--1", "+fits", "-fits * -keeps", "1 - -1", "2*-3",
        "sqrt(fits * keeps)", "min(fits, keeps, 1)", "max(1, looks)", "abs(looks)", "((fits))", "abs(-2 ** 2) - 1",
        "max(min(1, 2), abs(-3)) ** .5", "1e2*1e-2",
    ],
)  # fmt: skip
def test_a_formula_has_the_value_that_python_gives_it(text):
    namespace = {"sqrt": math.sqrt, **SCORES}
    assert parse(text).value(SCORES) == pytest.approx(eval(text.strip(), namespace))


def test_random_formulas_have_the_value_that_python_gives_them():
    choice = random.Random(0)

    def formula(depth):
        if depth == 0 or choice.random() < 0.2:
            return choice.choice(["fits", "keeps", "looks", "1", "0.5", "2e0"])
        inner = [formula(depth - 1) for _ in range(2)]
        form = choice.choice(["{}+{}", "{} - {}", "{}*{}", "({}) / 3", "-{}", "({})", "min({}, {})", "abs({})"])
        return form.format(*inner)

    for _ in range(300):
        text = formula(4)
        assert parse(text).value(SCORES) == pytest.approx(eval(text, dict(SCORES))), text


@pytest.mark.parametrize("text", ["none", "fits + none", "min(fits, none)", "absent", "0 * none"])
def test_a_formula_of_a_null_is_null(text):
    assert parse(text).value(SCORES) is None


@pytest.mark.parametrize(
    "text", ["1 / zero", "sqrt(looks)", "looks ** 0.5", "9 ** 9 ** 9 ** 9", "1e308 * 10", "zero ** -1", "1e999"]
)
def test_a_formula_without_a_finite_value_is_null(text):
    assert parse(text).value(SCORES) is None


def test_a_formula_names_the_scores_that_it_reads():
    assert parse("sqrt(fits) + max(keeps, 1) - fits").names == {"fits", "keeps"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it ends, where a number, a scorer's name, '\\(' or one of sqrt, min, max, abs is expected"),
        ("1 +", "it ends, where a number"),
        ("(1", "it ends, where '\\)' is expected"),
        ("1 2", "character 3 is '2', where an operator such as \\+ or \\* is expected"),
        ("fits keeps", "character 6 is 'keeps', where an operator"),
        ("1 // 2", "character 4 is '/', where a number"),
        ("sqrt", "it ends, where '\\(' is expected"),
        ("sqrt()", "character 6 is '\\)', where a number"),
        ("sqrt(1, 2)", "sqrt takes one value, not 2"),
        ("min(1)", "min takes two values or more, not 1"),
        ("a, b", "character 2 is ',', where an operator"),
        ("fits.real", "character 5 is '.'; allowed are numbers, scorers' names,"),
        ("__import__('os')", "character 12 is"),
        ("a == 1", "character 3 is '='; allowed are"),
        ("open('x')", "character 6 is"),
        ("eval(1)", "character 5 is '\\(', where an operator"),
        ("\u0661", "character 1 is"),
        ("1" * 1001, "a formula of 1,001 characters is too long: at most 1,000 are allowed"),
        ("(" * 60 + "1" + ")" * 60, f"is nested more than {MAX_DEPTH} deep"),
        ("-" * 60 + "1", f"is nested more than {MAX_DEPTH} deep"),
        ("2**" * 60 + "1", f"is nested more than {MAX_DEPTH} deep"),
        ("abs(" * 60 + "1" + ")" * 60, f"is nested more than {MAX_DEPTH} deep"),
    ],
)
def test_a_text_that_is_no_formula_is_refused_with_the_place(text, why):
    with pytest.raises(BadFormula, match=why):
        parse(text)


def test_the_longest_formula_has_a_value():
    assert parse("+".join(["1"] * 500)).value({}) == 500
