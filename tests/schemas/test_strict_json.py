"""JSON in lists and answers: a key twice, what is not a number, and numbers that would be rounded."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.lists.json_lists import read_items
from reconciler.run_catalogue.lists.run_lists import RunList, collect_runs
from schemas.files.strict_json import parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(string.printable, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=5), st.sampled_from([None, 1]))
def test_the_items_of_a_list_are_those_of_the_standard_parser_each_with_its_text(rows, indent):
    text = json.dumps(rows, indent=indent)
    items = list(read_items(text, "["))
    assert [(item.value, item.flaw) for item in items] == [(row, None) for row in rows]
    assert [json.loads(item.text) for item in items] == rows
    assert parse_json(text) == rows


@given(st.dictionaries(st.text(max_size=4), values, max_size=5))
def test_the_items_of_an_object_are_those_of_the_standard_parser(rows):
    items = list(read_items(json.dumps(rows), "{"))
    assert {item.key: item.value for item in items} == rows


@given(st.text(st.sampled_from('[]{}",:1a \n'), max_size=12))
def test_what_the_standard_parser_refuses_is_refused(rest):
    text = f"[{rest}"
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"Expecting|Extra|Unterminated|Invalid"):
            list(read_items(text, "["))
    else:
        assert [item.value for item in read_items(text, "[")] == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 1}', "'a' is there twice"),
        ('[{"b": {"a": 1, "c": 2, "a": 3}}]', "'a' is there twice"),
        ("[NaN]", "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ("[" * 100_000, "nested too deeply"),
        ("[1", "Expecting"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_strict_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_json(text)


def collect(tmp_path, text, experiment=None):
    (tmp_path / "list.json").write_text(text)
    found, refused = collect_runs(RunList(tmp_path / "list.json", experiment))
    return [(run.run, run.events) for run in found], {row.line: row.reason for row in refused}


def test_an_object_that_is_wrong_is_refused_alone_with_its_text(tmp_path):
    rows = [
        '{"experiment": 3, "run": 1, "events": 816.0}',
        '{"experiment": 3, "run": 2, "events": 1, "events": 2}',
        '{"experiment": 3, "run": 3, "extra": [{"a": 1, "a": 1}]}',
        '{"experiment": 3, "run": 4, "extra": NaN}',
        '{"experiment": 3, "run": 5, "events": true}',
        '{"experiment": 3, "run": 6, "events": 816.00000000000000001}',
        '{"experiment": 3, "run": 7, "Events": 5, "events ": 6}',
        '{"experiment": 3, "run": 8, "events": 5, "n_events": 6}',
        '{"experiment": 3, "exp": 3, "Run": 9, "events": null, "n_events": 8e2}',
        "[3, 10]",
        '{"experiment": 3, "run": 1' + "0" * 5000 + "}",
        '{"experiment": 3, "run": 12, "events": 7}',
    ]
    found, refused = collect(tmp_path, "[" + ",\n".join(rows) + "]")
    assert found == [(1, 816), (12, 7)]
    assert {line: reason[:45] for line, reason in refused.items()} == {
        2: "the key 'events' is there twice in one object",
        3: "the key 'a' is there twice in one object",
        4: "NaN is not a number of JSON",
        5: "events True is not a count",
        6: "events '816.00000000000000001' is not a count",
        7: "it has two columns 'events'",
        8: "events is stated twice: events '5' and n_even",
        9: "events '8e2' is not a count",
        10: "it is not an object with columns and values",
        11: "run '1" + "0" * 39,
    }
    (tmp_path / "list.json").write_text(f"[{rows[0]}, {rows[1]}]")
    assert collect_runs(RunList(tmp_path / "list.json"))[1][0].text == rows[1]


def test_a_certification_that_says_too_little_is_refused_run_by_run(tmp_path):
    sections = {
        "1": "[[1, 40], [43, 60]]",
        "2": "[[43, 60], [1, 40]]",
        "3": "[]",
        "4": "[[40, 1]]",
        "5": "[[1, 40], [40, 60]]",
        "6": "[[1.0, 40]]",
        "7": '[["1", "40"]]',
        "8": '"[[1, 40]]"',
        "9": "[[1, 40, 50]]",
        "10": "[[true, 40]]",
        "11": "[[-1, 40]]",
        "12": "null",
        "x": "[[1, 40]]",
        "13": '[[1, 40], {"a": 1, "a": 2}]',
        "99999999999": "[[1, 2]]",
        "14": "[[1, 2]]",
        "014": "[[3, 4]]",
        "15": "[[1, 3000000000]]",
    }
    text = ",".join(f'"{key}": {value}' for key, value in sections.items())
    found, refused = collect(tmp_path, f'{{{text}, "16": [[1, 2]], "16": [[1, 2]]}}', 3)
    assert found == [(1, None), (2, None)]
    assert list(refused) == list(range(3, 21))
    assert "has no luminosity sections" in refused[3]
    assert "[40, 1] are reversed" in refused[4]
    assert "[1, 40] and [40, 60] overlap" in refused[5]
    assert refused[16] == "the key '14' is there twice"
    assert refused[20] == "the key '16' is there twice"


@pytest.mark.parametrize(
    "text", ['{"runs": [1, 2]}', "[1, 2]", '[{"experiment": 3, "run": 1}', "[] []", '{"5" [[1, 2]]}']
)
def test_json_that_holds_no_list_is_refused(tmp_path, text):
    with pytest.raises(SourceUnavailable, match="list"):
        collect(tmp_path, text, 3)
