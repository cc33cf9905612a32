from __future__ import annotations

import io
import json
import resource
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from schemas.findings.finding import MOST, Finding, Lines, Place, limit_findings
from schemas.yaml.composer import NODE_LIMIT
from schemas.yaml.document import SIZE_LIMIT, read_yaml
from schemas.yaml.layout import DEPTH_LIMIT
from schemas.yaml.scalars import is_ambiguous, plain_form, resolve_plain, show

GOOD = {
    "block": ("a:\n  b: 1\n  c:\n    - x\n    - d: 2\n", {"a": {"b": 1, "c": ["x", {"d": 2}]}}),
    "list at the indentation of its key": ("a:\n- x\n- y\n", {"a": ["x", "y"]}),
    "first line of three dashes": ("---\na: 1\n", {"a": 1}),
    "closing dots": ("a: 1\n...\n", {"a": 1}),
    "flow": ('a: {b: [1, 2], c: {d: "e"}}\n', {"a": {"b": [1, 2], "c": {"d": "e"}}}),
    "flow over lines": ("a: [\n  b,\n  c,\n]\nd: {\n  e: 1\n}\n", {"a": ["b", "c"], "d": {"e": 1}}),
    "flow at the top": ("[a,\nb]\n", ["a", "b"]),
    "comments": (
        "# one\na: b # two\n\n  # three\nc: 'd' # e\nf: [g, # h\n  i]\nj: a#b\n",
        {"a": "b", "c": "d", "f": ["g", "i"], "j": "a#b"},
    ),
    "literal": ("a: |\n  x # y\n  \tz\n\n  w\nb: 1\n", {"a": "x # y\n\tz\n\nw\n", "b": 1}),
    "literal with a comment": ("a: |- # no end\n  x\n", {"a": "x"}),
    "folded": ("a: >-\n  x\n  y\n", {"a": "x y"}),
    "quoted": ("a: 'it''s'\nb: \"\\\"tab\\t\\u00e9\\\"\"\n", {"a": "it's", "b": '"tab\té"'}),
    "quoted over lines": ("a: 'x\n  y'\n", {"a": "x y"}),
    "plain over lines": ("a: x\n  y\n", {"a": "x y"}),
    "quoted keys": ("'1': x\n\"on\": y\n", {"1": "x", "on": "y"}),
    "windows": ("a: |\r\n  x\r\n  y\r\nb: 1\r\n", {"a": "x\ny\n", "b": 1}),
    "scalars": (
        "a: true\nb: ~\nc:\nd: -1.5e3\ne: 2e-7\nf: -0\ng: 529-613, 620\nh: '1'",
        {"a": True, "b": None, "c": None, "d": -1500.0, "e": 2e-7, "f": 0, "g": "529-613, 620", "h": "1"},
    ),
    "single braces and percent": (
        "a: exp{experiment}/r{run:05d}\nb: 100%\n",
        {"a": "exp{experiment}/r{run:05d}", "b": "100%"},
    ),
    "other scripts": ("a: Überprüfung 検証 √s\n", {"a": "Überprüfung 検証 √s"}),
    "colons in text": ("a: x:y\nb: http://example.org/z\n", {"a": "x:y", "b": "http://example.org/z"}),
    "explicit key": ("? a\n: 1\n", {"a": 1}),
    "dashes": ("a: -x\nb: [--y, 'z']\nc: \"-\"\n", {"a": "-x", "b": ["--y", "z"], "c": "-"}),
}

BAD = {
    "byte order mark": (b"\xef\xbb\xbfa: 1\n", ["1:1 BP101"]),
    "utf-16": ("a: 1\n".encode("utf-16"), ["1:1 BP101"]),
    "latin-1": (b"a: 1\nb: x\xe9\n", ["2:5 BP101"]),
    "nul": (b"a: 1\nb: \x00\n", ["2:4 BP101"]),
    "nul before bad utf-8": (b"a: \x00\xff\n", ["1:4 BP101"]),
    "tab indentation": (b"a:\n\tb: 1\n", ["2:1 BP102"]),
    "tab after colon": (b"a:\t1\n", ["1:3 BP102"]),
    "tight comment": (b"a: 'b'#c\n", ["1:7 BP102"]),
    "unclosed list": (b"a: [b\n", ["1:4 BP102"]),
    "unclosed quotation": (b'a: 1\nb: "x\n', ["2:4 BP102"]),
    "two colons": (b"a: b: c\n", ["1:5 BP102"]),
    "no colon": (b"a: 1\nb\nc: 2\n", ["2:1 BP102"]),
    "directive": (b"%YAML 1.1\n---\na: 1\n", ["1:1 BP102"]),
    "unknown directive": (b"%FOO\n---\na: 1\n", ["1:1 BP102"]),
    "escape beyond Unicode": (b'a: "\\U00110000"\n', ["1:5 BP102"]),
    "at sign": (b"a: @b\n", ["1:4 BP102"]),
    "lone dash": (b"a: [-]\n", ["1:5 BP102"]),
    "list as key": (b"? [a]\n: 1\n", ["1:3 BP102"]),
    "bracket continued at the margin": (b"a: [b,\nc]\n", ["2:1 BP102"]),
    "empty": (b"", ["1:1 BP103"]),
    "only a comment": (b"# nothing\n", ["1:1 BP103"]),
    "two documents": (b"a: 1\n---\nb: 2\n", ["2:1 BP103"]),
    "duplicate key": (b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", ["4:3 BP104", "5:1 BP104"]),
    "duplicate key in flow": (b"{a: 1, 'a': 2}\n", ["1:8 BP104"]),
    "anchor, alias and merge key": (
        b"a: &x {b: 1}\nc:\n  <<: *x\nd: *x\n",
        ["1:4 BP105", "3:3 BP105", "3:7 BP105", "4:4 BP105"],
    ),
    "recursive alias": (b"&x [*x]\n", ["1:1 BP105", "1:5 BP105"]),
    "tags": (
        b"a: !!python/object/apply:os.system ['id']\nb: !include x\nc: ! d\n!!str e: f\n",
        ["1:4 BP106", "2:4 BP106", "3:4 BP106", "4:1 BP106"],
    ),
    "infinities": (
        b"a: .inf\nb: -.INF\nc: .nan\nd: =\n",
        ["1:4 BP109", "2:4 BP109", "3:4 BP109", "4:4 BP109"],
    ),
    "numbers as keys": (
        b"1: a\ntrue: b\n1.5: c\n~: d\n",
        ["1:1 BP204", "2:1 BP204", "3:1 BP204", "4:1 BP204"],
    ),
    "ambiguous keys": (b"on: a\n0123: b\n", ["1:1 BP108", "2:1 BP108"]),
    "template in flow": (b"a: {{ x }}\n", ["1:4 BP110"]),
    "statement": (b"a: {% if x %}\n", ["1:4 BP110"]),
    "backtick": (b"a: `id`\n", ["1:4 BP110"]),
    "control": (b"a: x\x07\nb: x\x1b[2J\n", ["1:5 BP111", "2:5 BP111"]),
    "lone carriage return": (b"a: x\ry\n", ["1:5 BP111"]),
    "line separator": ("a: x\u2028y\n".encode(), ["1:5 BP111"]),
    "bidi in a comment": ("a: x # \u202e\n".encode(), ["1:8 BP111"]),
    "zero-width in a key": ("re\u200blease: x\n".encode(), ["1:3 BP111"]),
    "private use": ("a: \ue000\n".encode(), ["1:4 BP111"]),
    "escaped bidi": (b'a: "x\\u202e"\n', ["1:4 BP111"]),
    "escaped surrogate": (b'a: "\\ud800"\n', ["1:4 BP111"]),
    "escaped line break": (b'a: "x\\ny"\n', ["1:4 BP111"]),
    "not composed": (b"a: u\xcc\x88\n", ["1:4 BP111"]),
    "several at once": (
        b"a: &x 1\nb: !t 2\na: 3\nc: '{{'\nd: .nan\ne: [\n",
        ["1:4 BP105", "2:4 BP106", "3:1 BP104", "4:4 BP110", "5:4 BP109", "6:4 BP102"],
    ),
}

# Hazards, W8: what others make of unquoted text, and what we read. `other`: the number that its author may have meant.
W8 = {
    "3:52": ("3:52", True, None),
    "3:529": ("3:529", False, None),
    "8:12": ("8:12", True, None),
    "03.10": ("03.10", True, "3.1"),
    "1.10": (1.1, False, None),
    "on": ("on", True, "true"),
    "off": ("off", True, "false"),
    "yes": ("yes", True, "true"),
    "no": ("no", True, "false"),
    "y": ("y", True, "true"),
    "n": ("n", True, "false"),
    "True": ("True", True, "true"),
    "NULL": ("NULL", True, "null"),
    "0123": ("0123", True, "123"),
    "1_000": ("1_000", True, "1000"),
    "0b11": ("0b11", True, "3"),
    "0o12": ("0o12", True, "10"),
    "0x1F": ("0x1F", True, "31"),
    "2019-02-07": ("2019-02-07", True, None),
    "2019-02-07 10:00:00": ("2019-02-07 10:00:00", True, None),
    "2019-02-07T10:00:00Z": ("2019-02-07T10:00:00Z", True, None),
    "~": (None, False, None),
    "null": (None, False, None),
    "2e-7": (2e-7, False, None),
    "08": ("08", True, "8"),
    "+5": ("+5", True, "5"),
    ".5": (".5", True, "0.5"),
    "1.": ("1.", True, "1.0"),
    "1e999": ("1e999", True, None),
    "1234567890123456789": ("1234567890123456789", True, None),
    "123456789012345678": (123456789012345678, False, None),
    "529-613": ("529-613", False, None),
    "release-03-00-00": ("release-03-00-00", False, None),
    "1.2.3": ("1.2.3", False, None),
    "true": (True, False, None),
    "-": ("-", False, None),
}


def read(text: str | bytes):
    return read_yaml("campaign.yaml", text if isinstance(text, bytes) else text.encode())


def brief(findings) -> list[str]:
    return [f"{one.place.line}:{one.place.column} {one.code}" for one in findings]


@pytest.mark.parametrize(("text", "value"), GOOD.values(), ids=GOOD)
def test_ordinary_yaml_is_read(text, value):
    document, findings = read(text)
    assert findings == ()
    assert document.data == value
    assert json.dumps(document.data) == json.dumps(value)


@pytest.mark.parametrize(("content", "expected"), BAD.values(), ids=BAD)
def test_forbidden_is_found_at_its_place(content, expected):
    _, findings = read(content)
    assert brief(findings) == expected
    assert all(one.message.isprintable() and one.hint.isprintable() for one in findings)
    assert all(one.hint or one.code == "BP102" for one in findings)


@pytest.mark.parametrize("found", ["{{x}}", "{% x %}", "{# x", "x }}", "x %}", "${HOME}", "$(id)", "`id`"])
def test_w10_template_text_is_refused_in_every_style(found):
    for text in (
        f"a: '{found}'\n",
        f'a: "x {found}"\n',
        f"a: |\n  {found}\n",
        f"'{found}': a\n",
        f"a: ['{found}']\n",
    ):
        _, findings = read(text)
        assert [one.code for one in findings] == ["BP110"], text


def test_w2_every_invalid_document_of_the_yaml_test_suite_is_refused(shared_data):
    files = sorted((shared_data / "suites" / "yaml-test-suite-invalid").glob("*.yaml"))
    assert len(files) == 94
    assert [file.name for file in files if not read(file.read_bytes())[1]] == []


@pytest.mark.parametrize(("text", "value", "ambiguous", "other"), [(text, *row) for text, row in W8.items()])
def test_w8_plain_scalars_are_ours_to_resolve(text, value, ambiguous, other):
    resolved = resolve_plain(text)
    assert (resolved, type(resolved)) == (value, type(value))
    if isinstance(value, str):
        assert is_ambiguous(text) is ambiguous
    if ambiguous:
        assert plain_form(text) == other


@pytest.mark.parametrize("text", sorted(set(W8) - {"-"}))
def test_w8_quoted_scalars_are_text(text):
    document, findings = read(f"a: '{text}'\nb: \"{text}\"\n")
    assert findings == ()
    assert document.data == {"a": text, "b": text}
    assert list(document.ambiguous()) == []


def test_w8_ambiguous_values_are_listed_with_their_paths():
    document, _ = read("a: [x, on]\nb: {c: 0123, d: 'no'}\n")
    assert sorted(document.ambiguous(), key=str) == [(("a", 1), "on"), (("b", "c"), "0123")]


@pytest.mark.parametrize(
    "text",
    [opener * 5000 for opener in ("[", "{", "[a,", "- ", "? ", "{a: ", "[{a: ", "[[],", '["a", {b: ', "[\n")],
)
def test_s10_depth_is_refused_in_no_time(text):
    before = time.process_time()
    document, findings = read(text)
    assert time.process_time() - before < 2  # a bomb takes for ever; how fast it is, the bench tells
    assert document is None
    assert "BP107" in {one.code for one in findings}


def test_s10_alias_bomb_is_refused_before_anything_is_built():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = time.process_time()
    _, findings = read(bomb)
    assert time.process_time() - before < 2  # a bomb takes for ever; how fast it is, the bench tells
    assert {one.code for one in findings} == {"BP105"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 50 * 1024


def test_w7_limits_are_inclusive_and_the_measured_value_is_told():
    deepest = "[" * DEPTH_LIMIT + "x" + "]" * DEPTH_LIMIT
    assert read(deepest)[1] == ()
    assert brief(read(f"[{deepest}]")[1]) == ["1:21 BP107"]
    block = "".join(f"{'  ' * depth}a:\n" for depth in range(DEPTH_LIMIT))
    assert read(block)[1] == ()
    assert brief(read(f"{block}{'  ' * DEPTH_LIMIT}a:\n")[1]) == [
        f"{DEPTH_LIMIT + 1}:{2 * DEPTH_LIMIT + 1} BP107"
    ]
    assert read("a: x #".ljust(SIZE_LIMIT, "x"))[1] == ()
    (finding,) = read("a: x #".ljust(SIZE_LIMIT + 1, "x"))[1]
    assert (finding.code, str(SIZE_LIMIT + 1) in finding.message) == ("BP107", True)


@pytest.mark.slow
def test_w7_nodes_are_counted():
    items = NODE_LIMIT - 1
    assert read("- x\n" * items)[1] == ()
    assert brief(read("- x\n" * (items + 1))[1]) == [f"{NODE_LIMIT}:3 BP107"]


def test_w4_both_places_of_a_duplicate_are_told_and_the_first_value_is_kept():
    document, (finding,) = read("release: one\nx: 1\nrelease: {two: 2}\n")
    assert finding.place == Place("campaign.yaml", 3, 1)
    assert "1:1" in finding.message
    assert document.data == {"release": "one", "x": 1}


def test_w11_code_points_are_told():
    _, (finding,) = read('a: "proc7\\u202e"\n')
    assert "U+202E RIGHT-TO-LEFT OVERRIDE" in finding.message


def test_w1_the_byte_offset_is_told():
    _, (finding,) = read(b"a: \xc3\xa9\nb: \xff\n")
    assert "byte 9" in finding.message
    assert finding.place == Place("campaign.yaml", 2, 4)


def test_findings_before_a_syntax_error_are_kept():
    document, findings = read("a: &x 1\nb: [1\nc: }\n")
    assert document is None
    assert brief(findings)[0] == "1:4 BP105"
    assert {one.code for one in findings[1:]} == {"BP102"}


def test_places_of_values_and_keys():
    document, _ = read("title: x\nruns:\n  - {experiment: 3, types: [physics, beam]}\nempty:\n")
    assert document.place(()) == Place("campaign.yaml", 1, 1)
    assert document.place(("runs", 0, "experiment")) == Place("campaign.yaml", 3, 18)
    assert document.key_place(("runs", 0, "experiment")) == Place("campaign.yaml", 3, 6)
    assert document.place(("runs", 0, "types", 1)) == Place("campaign.yaml", 3, 38)
    assert document.key_place(("runs", 0)) == Place("campaign.yaml", 3, 5)
    assert document.key_place(("runs",)) == Place("campaign.yaml", 2, 1)
    assert document.place(("runs", 0, "nothing", "deeper")) == Place("campaign.yaml", 3, 5)
    assert document.key_place(("runs", 7, "nothing")) == document.place(("runs",))
    assert document.key_place(("empty",)) == Place("campaign.yaml", 4, 1)


def test_text_as_written():
    document, _ = read("a: 1.10\nb: '1.10'\nc: [on]\nd:\n")
    assert (document.text(("a",)).text, document.text(("a",)).plain) == ("1.10", True)
    assert (document.text(("b",)).text, document.text(("b",)).plain) == ("1.10", False)
    assert document.text(("c", 0)).ambiguous
    assert document.text(("c",)) is None
    assert document.text(("d",)).text == ""
    assert document.text(("z",)) is None


def test_what_is_shown_cannot_act_on_a_terminal():
    assert show("\x1b[2J\u202e") == "`\\u{1b}[2J\\u{202e}`"
    assert len(show("x" * 10_000)) < 70


@pytest.mark.slow
def test_a_full_sized_manifest_is_read_in_linear_time():
    row = '  - {experiment: 3, ranges: "529-613", types: [physics, beam]}\n'
    text = "runs:\n" + row * ((SIZE_LIMIT - 6) // len(row))
    before = time.process_time()
    assert read(text)[1] == ()
    assert time.process_time() - before < 20  # quadratic would be minutes


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_or_findings(content):
    document, findings = read(content)
    assert document is not None or findings


YAML_LIKE = st.text(
    st.sampled_from(list("abn01:-?[]{},#&*!|>'\"%@`~=<.\\ \n\n\n\t\r$x_U\u00e9\u202e\x07")), max_size=60
)


@settings(max_examples=600, deadline=None)
@given(YAML_LIKE)
def test_yaml_like_text_gives_a_document_or_findings(text):
    document, findings = read(text)
    assert document is not None or findings
    assert all(str(one).isprintable() for one in findings)
    lines = text.replace("\r\n", "\n").split("\n")
    assert all(1 <= one.place.line <= len(lines) for one in findings)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=12).map(
    lambda text: unicodedata.normalize("NFC", text)
)
SAFE_TEXTS = TEXTS.filter(
    lambda text: not any(bad in text for bad in ("{{", "{%", "{#", "}}", "%}", "${", "$(", "`"))
)
VALUES = st.recursive(
    SCALARS | SAFE_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAFE_TEXTS, inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(SAFE_TEXTS, VALUES, min_size=1, max_size=4))
def test_json_is_read_as_what_it_is(value):
    document, findings = read(json.dumps(value, ensure_ascii=False))
    assert findings == ()
    assert document.data == value


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("0123456789abexo_:.+-TZynos~ "), min_size=1, max_size=8)
    .map(str.strip)
    .filter(bool)
)
@example("._0")
@example("-_0")
def test_w8_whatever_another_reader_coerces_is_resolved_or_marked(text):
    for version in ("1.1", "1.2"):
        yaml = YAML(typ="safe", pure=True)
        yaml.version = version
        try:
            other = yaml.load(io.StringIO(f"- {text}\n"))[0]
        except Exception:  # noqa: BLE001 -- what it cannot read, it does not coerce
            continue
        if not isinstance(other, str | list | dict):
            assert not isinstance(resolve_plain(text), str) or is_ambiguous(text)


@given(st.text("ab\n", max_size=60).flatmap(lambda text: st.tuples(st.just(text), st.integers(0, len(text)))))
def test_a_place_is_where_counting_finds_it(case):
    text, index = case
    assert Lines(text).locate(index) == (text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def test_of_many_findings_of_a_file_the_first_are_told_and_the_rest_counted():
    many = [Finding(Place("a.yaml", line), "BP204", f"slip {line}") for line in range(1, 1001)]
    few = [Finding(Place("b.yaml"), "BP204", "slip")]
    told = limit_findings([*reversed(many), *few, *few])
    assert told[:MOST] == tuple(many[:MOST])
    assert "900 more findings in this file" in told[MOST].message
    assert told[MOST + 1 :] == tuple(few), "every file that has findings keeps some"
