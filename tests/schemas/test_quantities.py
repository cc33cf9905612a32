from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.skims.cut_evaluation import calculate
from schemas.json_schema.validation import read_valid
from schemas.policy.validation import read_validation
from schemas.skims.cut import MAX_LENGTH, parse_formula
from schemas.skims.cut_error import CutSyntaxError

HEAD = "schema: validation/1\ntitle: Words\nquantities:\n  one: "
VALID = "{expression: x / y, bins: {number: 5, low: 0, high: 1}, per: object, shown_to: expert}"


def read(text):
    return read_validation("words", read_valid("words.yaml", (HEAD + text + "\n").encode(), "validation"))


@pytest.mark.parametrize(
    ("text", "normal", "variables"),
    [
        ("m_pValue", "m_pValue", ("m_pValue",)),
        ("((b-a)/2.0)", "(b - a) / 2", ("a", "b")),
        ("2.718281828459045^x", "2.718281828459045 ** x", ("x",)),
        ("0x10", "16", ()),
        ("-x ** 2", "-x ** 2", ("x",)),
    ],
)
def test_a_formula_has_a_normal_form_and_variables(text, normal, variables):
    formula = parse_formula(text)
    assert formula.describe() == normal
    assert formula.variables == variables
    assert parse_formula(normal).value == formula.value


def test_a_formula_without_variables_has_its_value_for_every_event():
    assert calculate(parse_formula("2 ** 3 ** 2 - 1"), {}, 3).tolist() == [511.0] * 3


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("x > 2", 3, "belongs to conditions"),
        ("x and y", 3, "belongs to conditions"),
        ("not x", 1, "belongs to conditions"),
        ("[x]", 1, "belongs to conditions"),
        ("True", 1, "is not a number"),
        ("x + True", 5, "is not a number"),
        ("x +", 4, "missing"),
        ("exp(x)", 1, "variables with arguments"),
        ("(x", 1, "not closed"),
        ("", 1, "empty"),
        ("x y", 3, "cannot follow"),
        ("Tracks.m", 7, "not part of the cut language"),
        ("-" * 200 + "x", 1, "levels deep"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH + 1, "characters"),
    ],
)
def test_what_is_no_formula_is_told_at_its_place(text, column, problem):
    with pytest.raises(CutSyntaxError) as caught:
        parse_formula(text)
    assert caught.value.column == column
    assert problem in str(caught.value)


@given(st.text(alphabet="xy 1.+-*/^()[]<>=andortTrue", max_size=30))
def test_any_text_is_a_formula_or_told(text):
    try:
        formula = parse_formula(text)
    except CutSyntaxError as error:
        told = error
    else:
        told = None
        assert parse_formula(formula.describe()).describe() == formula.describe()
    assert told is None or 1 <= told.column <= len(text) + 1


def test_a_quantity_is_described_by_what_determines_its_histogram():
    validation, findings = read(VALID)
    assert not findings
    (one,) = validation.quantities
    assert one.describe() == {"expression": "x / y", "bins": [5, 0.0, 1.0], "per": "object"}
    same = (
        VALID.replace("x / y", "(x)/y")
        .replace("expert", "shifter, title: Words")
        .replace("low: 0", "low: 0.0")
    )
    assert read(same)[0].quantities[0].describe() == one.describe()
    for old, new in (("x / y", "y / x"), ("5", "6"), ("high: 1", "high: 2"), ("per: object", "per: event")):
        assert read(VALID.replace(old, new))[0].quantities[0].describe() != one.describe()


@pytest.mark.parametrize(
    ("old", "new", "code", "column", "message"),
    [
        ("x / y", "x >", "BP516", 23, "the expression of one does not parse: `>` belongs to conditions"),
        ("expression: x / y, ", "", "BP207", 3, "one needs one of `expression` and `count`, and has none"),
        ("expression:", "count: a, expression:", "BP207", 3, "and has both"),
        ("expression: x / y", "count: x", "BP205", None, "counts objects, which gives one number per event"),
        ("high: 1", "high: 0", "BP205", None, "begin at 0 and end at 0"),
    ],
)
def test_what_is_wrong_with_a_quantity_is_a_finding_at_its_place(old, new, code, column, message):
    validation, findings = read(VALID.replace(old, new))
    assert validation.quantities == ()
    (finding,) = findings
    assert finding.code == code
    assert message in finding.message
    assert finding.place.line == 4
    assert column is None or finding.place.column == column


def test_a_count_has_no_members():
    _, (finding,) = read(
        "{count: x, of: z, bins: {number: 5, low: 0, high: 1}, per: event, shown_to: expert}"
    )
    assert "`of` says of what an expression names members" in finding.message
