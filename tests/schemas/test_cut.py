from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.skims.cut_evaluation import select
from schemas.skims.cut import MAX_LENGTH, parse_cut
from schemas.skims.cut_error import MAX_BRACKETS, MAX_INTEGER, CutSyntaxError
from schemas.skims.cut_tree import (
    And,
    Arithmetic,
    Cut,
    Negative,
    Not,
    Number,
    Or,
    Relation,
    Truth,
    Variable,
    canonical,
)
from tests.support.inputs.cut_trees import conditions, write

TALK = {
    "hlt_mumu_2trk": "[[nTracksLE >= 2] and [[nEidLE == 0] and [[P1OEbeamCMSBhabhaLE > 0.35] and "
    "[[P2OEbeamCMSBhabhaLE > 0.2] and [[EtotLE < 7] and [[EC2CMSLE < 1] and [maxAngleTTLE > 0.785]]]]]]]",
    "hlt_mumu_1trk": "[[nTracksLE == 1] and [[nEidLE == 0] and [[P1OEbeamCMSBhabhaLE > 0.1] and "
    "[[EC1CMSLE < 1] and [EtotLE < 7]]]]]",
    "hlt_hadron": "[[nTracksLE >= 3] and [Bhabha2Trk == 0]]",
    "hlt_bhabha": "[Bhabha2Trk == 1]",
    "hlt_gamma_gamma": "[[nTracksLE <= 1] and [[nEidLE == 0] and [[EC12CMSLE > 4] and [EC1CMSLE > 2]]]]",
    "hlt_single_photon_1GeV": "[[G1CMSBhabhaLE > 1.0] and [Bhabha2Trk == 0] and [GG == 0]]",
    "hlt_single_photon_2GeV_barrel": "[[G1CMSBhabhaLE > 2.0] and [Bhabha2Trk == 0]]",
    "hlt_single_photon_2GeV_endcap": "[[G1CMSBhabhaLE > 2.0] and [Bhabha2Trk == 0] and [GG == 0]]",
    "hlt_tau_tau": "[[nTracksLE >= 2] and [[P1CMSBhabhaLE < 5] and [[EtotLE < 9] and [VisibleEnergyLE < 9]]]]",
}
SLIDE = "[[nTracksLE <= 1] and [[nEidLE == 0] and [[EC12CMSLE > 4] and [[EC1CMSLE > 2]]]]"


def refuse(text: str) -> CutSyntaxError:
    with pytest.raises(CutSyntaxError) as caught:
        parse_cut(text)
    return caught.value


def attempt(text: str) -> Cut | CutSyntaxError:
    try:
        return parse_cut(text)
    except CutSyntaxError as error:
        return error


# -- what the field writes


@pytest.mark.parametrize("name", TALK)
def test_the_cuts_of_the_talk_parse(name):
    assert parse_cut(TALK[name]).variables


def test_nested_pairs_mean_a_plain_conjunction():
    cut = parse_cut(TALK["hlt_gamma_gamma"])
    assert cut.variables == ("EC12CMSLE", "EC1CMSLE", "nEidLE", "nTracksLE")
    assert canonical(cut) == "nTracksLE <= 1 and nEidLE == 0 and EC12CMSLE > 4 and EC1CMSLE > 2"


def test_the_slide_with_one_bracket_too_many_is_refused_with_counts():
    error = refuse(SLIDE)
    assert "8 `[` and 7 `]`" in error.problem
    assert error.column == 1
    assert error.problem.endswith("the `[` in column 1 is not closed")
    doubled = SLIDE.index("[[EC1CMSLE") + 1
    assert f"`[[EC1CMSLE > 2]]` in column {doubled}" in error.hint


# -- grammar

M, N = Variable("M"), Variable("n")


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("1.2 < M < 1.5", Relation((Number("1.2"), M, Number("1.5")), ("<", "<"))),
        ("5 >= n", Relation((Number("5"), N), (">=",))),
        ("M == 0x1F", Relation((M, Number("31")), ("==",))),
        ("M == 2e-7", Relation((M, Number("2e-07")), ("==",))),
        ("M == .5", Relation((M, Number("0.5")), ("==",))),
        ("M != nan", Relation((M, Number("nan")), ("!=",))),
        ("M < inf", Relation((M, Number("inf")), ("<",))),
        ("M < infinity", Relation((M, Number("inf")), ("<",))),
        ("M < 2147483647", Relation((M, Number("2147483647")), ("<",))),
        ("M < 0x7fffffff", Relation((M, Number("2147483647")), ("<",))),
        ("M < 2147483648.0", Relation((M, Number("2147483648.0")), ("<",))),
        ("M < 1e10", Relation((M, Number("10000000000.0")), ("<",))),
        ("M < 1e100", Relation((M, Number("1e+100")), ("<",))),
        ("M < -2147483647", Relation((M, Negative(Number("2147483647"))), ("<",))),
        ("M < 007", Relation((M, Number("7")), ("<",))),
        ("n == +True", Relation((N, Number("1")), ("==",))),
        ("n == (false)", Relation((N, Number("0")), ("==",))),
        ("True == true", Relation((Number("1"), Number("1")), ("==",))),
        ("n == true", Relation((N, Number("1")), ("==",))),
        ("False", Truth(value=False)),
        ("n < -M ** 2", Relation((N, Negative(Arithmetic("**", M, Number("2")))), ("<",))),
        ("n < +M", Relation((N, M), ("<",))),
        ("n < M ^ n ^ 2", Relation((N, Arithmetic("**", M, Arithmetic("**", N, Number("2")))), ("<",))),
        ("n < M - n - 2", Relation((N, Arithmetic("-", Arithmetic("-", M, N), Number("2"))), ("<",))),
        ("n < M + n * 2", Relation((N, Arithmetic("+", M, Arithmetic("*", N, Number("2")))), ("<",))),
        ("android > info", Relation((Variable("android"), Variable("info")), (">",))),
    ],
)
def test_values(text, expression):
    assert parse_cut(text).expression == expression


def test_not_binds_more_than_and_and_more_than_or():
    a, b, c = (parse_cut(f"{name} > 0").expression for name in "abc")
    assert parse_cut("not a > 0 and b > 0 or c > 0").expression == Or((And((Not(a), b)), c))
    assert parse_cut("c > 0 or not a > 0 and b > 0").expression == Or((c, And((Not(a), b))))
    assert parse_cut("not [a > 0 and [b > 0 or c > 0]]").expression == Not(And((a, Or((b, c)))))


@pytest.mark.parametrize(
    ("text", "column", "said", "hint"),
    [
        ("", 1, "empty", "`True`"),
        (" \n\t", 1, "empty", ""),
        ("x", 1, "`x` is a value", "`x != 0`"),
        ("[a > 1] and x + 1", 13, "`x + 1` is a value", "`x + 1 != 0`"),
        ("not x", 5, "`x` is a value", ""),
        ("a > ", 4, "missing between `>` and the end", ""),
        ("a > 1 and or b > 2", 11, "missing between `and` and `or`", ""),
        ("and a > 1", 1, "nothing stands before `and`", ""),
        ("[]", 2, "empty", ""),
        ("a > ()", 6, "empty", ""),
        ("a > 1]", 6, "0 `[` and 1 `]`: the `]` in column 6 closes nothing", ""),
        ("a > (b + 1", 5, "1 `(` and 0 `)`: the `(` in column 5 is not closed", ""),
        ("[(a] > 1)", 4, "`]` cannot close the `(` in column 2", "`)`"),
        ("(a > 1)", 1, "`( )` groups arithmetic", "`[ ]`"),
        ("(a > 1 and b > 2)", 1, "`( )` groups arithmetic", "`[ ]`"),
        ("a > [b + 1]", 5, "value is due", "`( )`"),
        ("daughter(0, p) > 1", 1, "arguments", ""),
        ("1 < a < 2 < 3", 11, "third comparison", "`and`"),
        ("[a > 1] [b > 2]", 9, "cannot follow `]`", "`and`"),
        ("a > 1 AND b > 2", 7, "cannot follow", "`and` in small letters"),
        ("a = 1", 3, "`=`", "`==`"),
        ("a > 1 && b > 2", 7, "`&`", "`and`"),
        ("a ≥ 1", 3, "`≥`", "`>=`"),
        ("a > 1\x00", 6, "U+0000", ""),
        ("a\u202e > 1", 2, "U+202E", ""),
        ("é > 1", 1, "`é`", ""),
        ("a > 1.2.3", 8, "cannot follow `1.2`", ""),
        ("a == -True", 7, "`True` is not a number: basf2 compares it, and refuses `-` with it", "write `1`"),
        ("a == -(+false)", 9, "refuses `-`", "write `0`"),
        ("true + a > 1", 1, "refuses `+`", "write `1`"),
        ("a * (False) > 1", 6, "refuses `*`", "write `0`"),
        ("a - True > 1", 5, "refuses `-`", ""),
        ("1 / True > a", 5, "refuses `/`", ""),
        ("True ** 2 > a", 1, "refuses `**`", ""),
        ("a ^ true > 1", 5, "refuses `^`", ""),
        ("a > 2147483648", 5, "`2147483648` is an integer beyond the 32 bits", "a double: `2147483648.0`"),
        ("a > -2147483648", 6, "at most 2147483647", "`2147483648.0`"),
        ("[b == 1] and a<0x80000000", 16, "`0x80000000`", "`2147483648.0`"),
        ("a > 0XFFFFFFFF", 5, "`0XFFFFFFFF`", "`4294967295.0`"),
        ("a > 9007199254740993", 5, "", "`9007199254740992.0`, which is the nearest one"),
        ("a > " + "9" * 400, 5, "`99999999999999999999…`", "write `inf`"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(text, column, said, hint):
    error = refuse(text)
    assert error.column == column
    assert said in error.problem
    assert hint in error.hint
    assert str(error).startswith(f"column {column}: ")


def nest(depth: int) -> str:
    return "[" * depth + "a > 1" + "]" * depth


def test_limits():
    assert parse_cut(nest(MAX_BRACKETS))
    assert "brackets" in refuse(nest(MAX_BRACKETS + 1)).problem
    assert refuse(nest(MAX_BRACKETS + 1)).column == MAX_BRACKETS + 1
    longest = "a" * (MAX_LENGTH - 4) + " > 1"
    assert parse_cut(longest)
    assert "4097 characters" in refuse(longest + " ").problem
    assert "normal form" in refuse("a>1 and " * 500 + "a>1").problem


@pytest.mark.parametrize(
    "text",
    [
        "not " * 1000 + "a > 1",
        "-" * 4000 + "a > 1",
        "2**" * 1300 + "2 > a",
        "1+" * 2000 + "a > 1",
        "(" * 4000,
        "[" * 2000 + "]" * 2000,
        "a>1 or " * 580 + "a",
        "9" * 4000 + " > a",
        "0x" + "f" * 4000 + " > a",
    ],
)
def test_monsters_are_answered_at_once(text):
    start = time.process_time()
    try:
        cut = parse_cut(text)
    except CutSyntaxError:
        pass
    else:
        select(cut, {"a": np.zeros(1)})
    assert time.process_time() - start < 20


def test_what_the_documentation_calls_refused_is_refused_and_the_cut_instead_is_not():
    text = (Path(__file__).parents[2] / "docs/cuts.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:`(.+?)`|\(nothing\)) \| .+ \| `(.+?)` \|$", text, re.MULTILINE)
    assert len(rows) == 6
    for wrong, instead in rows:
        refuse(wrong)
        parse_cut(instead)


# -- any text

WORDS = [
    "and",
    "or",
    "not",
    "[",
    "]",
    "(",
    ")",
    "<",
    "==",
    "!=",
    "+",
    "-",
    "**",
    "^",
    "/",
    "a",
    "b1",
    "1.5",
    "0x1",
]
soup = st.lists(st.sampled_from([*WORDS, "nan", "true", " ", "\n", ".", "=", "!", "e3"]), max_size=30).map(
    "".join
)
spaced = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)


@pytest.mark.slow
@given(st.text() | soup | spaced)
def test_any_text_gives_a_cut_or_a_syntax_error(text):
    found = attempt(text)
    if isinstance(found, Cut):
        assert parse_cut(canonical(found)).expression == found.expression
    else:
        assert 1 <= found.column <= len(text) + 1
        assert found.problem


# -- normal form


@pytest.mark.slow
@given(conditions, st.data())
def test_brackets_and_blanks_leave_no_trace_in_the_normal_form(expression, data):
    plain = canonical(Cut("", expression, ()))
    if len(plain) > MAX_LENGTH:
        return
    cut = attempt(write(expression, data.draw))
    if isinstance(cut, CutSyntaxError):
        assert "limit" in cut.problem or "brackets are open" in cut.problem
        return
    assert cut.expression == expression
    assert canonical(cut) == plain
    assert parse_cut(plain).expression == expression
    assert canonical(parse_cut(plain)) == plain


@pytest.mark.slow
@given(conditions, conditions)
def test_different_selections_have_different_normal_forms(one, other):
    assert (canonical(Cut("", one, ())) == canonical(Cut("", other, ()))) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a - (b - c) > 0", "a - b - c > 0"),
        ("(a ** b) ** c > 0", "a ** b ** c > 0"),
        ("(-a) ** 2 > 0", "-a ** 2 > 0"),
        ("[a > 0 or b > 0] and c > 0", "a > 0 or b > 0 and c > 0"),
        ("not [a > 0 and b > 0]", "not a > 0 and b > 0"),
        ("a > 1", "a >= 1"),
        ("a > 1.0000000000000002", "a > 1"),
    ],
)
def test_brackets_that_matter_stay(one, other):
    assert canonical(parse_cut(one)) != canonical(parse_cut(other))


@given(st.floats(allow_nan=False, min_value=0) | st.integers(0, MAX_INTEGER).map(float))
def test_a_constant_keeps_its_value_in_the_normal_form(value):
    cut = parse_cut(f"a > {value!r}")
    again = parse_cut(canonical(cut))
    assert again.expression == cut.expression
    assert again.expression.operands[1].value == value


def test_spellings_of_one_selection_agree():
    texts = ("[a>0x10]and b^2<1.50", "a > 16.0 and [[ b ** 2 < 15e-1 ]]", "a > 16 and b ** 2 < 1.5")
    assert {canonical(parse_cut(text)) for text in texts} == {texts[2]}
