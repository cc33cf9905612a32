from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.json_schema.validation import load_schema, validate, validate_json
from schemas.yaml.document import read_yaml

NAME = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$",
    "x-code": "BP301",
    "x-hint": "use letters",
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema"],
    "x-retired": {"gt": {"since": "campaign/1", "instead": "`global_tags`"}},
    "properties": {
        "schema": {"title": "Schema version", "const": "campaign/1", "x-code": "BP208"},
        "title": {"type": "string", "minLength": 1, "maxLength": 10},
        "kind": {"enum": ["reprocessing", "calibration", "null", "on"]},
        "release": {"title": "Basf2 release", "type": "string", "examples": ["release-03-00-00"]},
        "site": {"$ref": "#/$defs/name"},
        "outputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 3,
            "uniqueItems": True,
            "items": {"type": "string"},
        },
        "enabled": {"type": "boolean"},
        "fraction": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "value": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "value_list": {"type": ["string", "array"]},
        "input": {
            "oneOf": [
                {
                    "title": "a step's output",
                    "type": "object",
                    "required": ["from", "step"],
                    "additionalProperties": False,
                    "properties": {"from": {"const": "step"}, "step": {"type": "string"}},
                },
                {
                    "title": "files",
                    "type": "object",
                    "required": ["from", "level"],
                    "additionalProperties": False,
                    "properties": {"from": {"const": "files"}, "level": {"enum": ["raw", "mdst"]}},
                },
            ]
        },
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["experiment"],
                "dependentRequired": {"from": ["max_runs"]},
                "not": {"required": ["ranges", "from"]},
                "properties": {
                    "experiment": {"type": "integer", "minimum": 0, "maximum": 9999, "x-code": "BP403"},
                    "ranges": {"type": "string"},
                    "from": {"type": "integer"},
                    "max_runs": {"type": "integer", "minimum": 1, "maximum": 100},
                },
            },
        },
        "steps": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,9}$"},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["application"],
                "properties": {
                    "application": {"enum": ["basf2", "uproot"]},
                    "template": {"type": "string"},
                    "cut": {"type": "string"},
                    "line": {"type": "string"},
                },
                "oneOf": [{"required": ["cut"]}, {"required": ["line"]}],
            },
        },
    },
    "$defs": {"name": NAME},
}


def findings_of(text: str, schema=SCHEMA):
    document, findings = read_yaml("f", text.encode())
    assert document is not None
    assert findings == (), "the reader is tested elsewhere"
    return validate(document, schema)


# each case: the text after the first line, then place and code of the finding, words of its message, words of its hint
CASES = {
    "W12 unknown key": ("relese: x\n", "2:1 BP201", "`relese`", "did you mean `release`?"),
    "W12 capitals": ("Release: x\n", "2:1 BP201", "`Release`", "did you mean `release`?"),
    "W13 key of another level": ("experiment: 3\n", "2:1 BP201", "`experiment`", "legal under `runs[]`"),
    "W13 key of steps": ("template: x\n", "2:1 BP201", "`template`", "legal under `steps.<name>`"),
    "W13 key of the top": (
        "runs:\n  - {experiment: 3, release: x}\n",
        "3:21 BP201",
        "`release` in item 1 of `runs`",
        "legal under the top level",
    ),
    "W13 no blank after the colon": (
        "runs: [{experiment:3, experiment: 3}]\n",
        "2:9 BP201",
        "",
        "`experiment: 3`",
    ),
    "W11 homoglyph key": ("r\u0435lease: x\n", "2:1 BP201", "U+0435 CYRILLIC SMALL LETTER IE", "`release`"),
    "W15 missing in an item": (
        "runs:\n  - {ranges: '5'}\n",
        "3:5 BP202",
        "`experiment`",
        "add `experiment:`",
    ),
    "W15 missing in a step": (
        "steps:\n  a: {cut: x}\n",
        "3:3 BP202",
        "`application` is missing in `a`",
        "add",
    ),
    "W16 null": ("runs:\n", "2:1 BP203", "`runs` is empty", "remove the key"),
    "W16 null for text": ("title:\n", "2:1 BP203", "`title` is empty", ""),
    "W16 tilde for a list": ("runs: ~\n", "2:7 BP203", "`runs` is empty", ""),
    "W16 empty list": ("outputs: []\n", "2:10 BP203", "`outputs` is empty", ""),
    "W16 empty mapping": ("steps: {}\n", "2:8 BP203", "`steps` is empty", ""),
    "W16 empty text": ("title: ''\n", "2:8 BP203", "`title` is empty", ""),
    "W16 empty choice": ("kind:\n", "2:1 BP203", "`kind` is empty", ""),
    "W17 text for a list": ("outputs: mdst\n", "2:10 BP204", "must be a list", "write [mdst]"),
    "W17 list for a mapping": ("steps: [x]\n", "2:8 BP204", "must be a mapping", ""),
    "W17 truth for a number": (
        "runs: [{experiment: true}]\n",
        "2:21 BP204",
        "must be a whole number, not `true`",
        "",
    ),
    "W17 text for a number": ("runs: [{experiment: abc}]\n", "2:21 BP204", "not the text `abc`", ""),
    "W17 quoted number": ("runs: [{experiment: '3'}]\n", "2:21 BP204", "", "without quotes: 3"),
    "W17 float for a whole number": ("runs: [{experiment: 3.0}]\n", "2:21 BP204", "not `3.0`", "write 3"),
    "W17 truth for a fraction": ("fraction: true\n", "2:11 BP204", "must be a number, not `true`", ""),
    "W17 list where scalars may stand": (
        "value: [1]\n",
        "2:8 BP204",
        "text or a whole number, not a list",
        "",
    ),
    "W8 version": ("release: 1.10\n", "2:10 BP108", "`1.10`", "quote it: '1.10'"),
    "W8 number": ("release: 3\n", "2:10 BP108", "", "quote it: '3'"),
    "W8 truth": ("release: true\n", "2:10 BP108", "", "quote it: 'true'"),
    "W8 null": ("release: null\n", "2:10 BP108", "", "quote it: 'null'"),
    "W8 null in a choice": ("kind: null\n", "2:7 BP108", "", "quote it: 'null'"),
    "W8 word in a choice": ("kind: on\n", "2:7 BP108", "", "quote it: 'on'"),
    "W8 octal": ("release: 0123\n", "2:10 BP108", "`123`", "quote it: '0123'"),
    "W8 time": ("outputs: [a, 3:52]\n", "2:14 BP108", "", "quote it: '3:52'"),
    "W8 date": ("release: 2019-02-07\n", "2:10 BP108", "", "quote it: '2019-02-07'"),
    "W8 underscores for a number": ("runs: [{experiment: 1_000}]\n", "2:21 BP108", "", "write 1000"),
    "W8 time for a number": ("runs: [{experiment: 3:52}]\n", "2:21 BP108", "", "write a whole number"),
    "W8 yes for a truth": ("enabled: yes\n", "2:10 BP108", "", "write true"),
    "W8 where either may stand": ("value: 010\n", "2:8 BP108", "", "quote it: '010'"),
    "W18 choice": (
        "kind: reprocesing\n",
        "2:7 BP205",
        "`reprocesing`",
        "did you mean `reprocessing`? one of `reprocessing`, ",
    ),
    "W18 far from all": ("kind: x\n", "2:7 BP205", "", "one of `reprocessing`, `calibration`"),
    "W19 negative": ("runs: [{experiment: -1}]\n", "2:21 BP403", "`-1`", "at least 0 and at most 9999"),
    "W19 too many": (
        "runs: [{experiment: 1, from: 1, max_runs: 1000000000}]\n",
        "2:43 BP206",
        "`1000000000`",
        "at most 100",
    ),
    "W19 exclusive": ("fraction: 0.0\n", "2:11 BP206", "", "above 0"),
    "W19 long text": ("title: abcdefghijk\n", "2:8 BP206", "11 long", "at most 10 characters"),
    "W19 long list": ("outputs: [a, b, c, d]\n", "2:10 BP206", "4 long", "at most 3 items"),
    "W20 excluding": (
        "runs: [{from: 1, max_runs: 2, experiment: 1, ranges: '5'}]\n",
        "2:46 BP207",
        "exclude",
        "2:9",
    ),
    "W20 needing": (
        "runs: [{experiment: 1, from: 2}]\n",
        "2:24 BP207",
        "`from` needs `max_runs`",
        "remove `from`",
    ),
    "W20 neither": (
        "steps: {a: {application: basf2}}\n",
        "2:9 BP207",
        "exactly one of `cut` or `line`",
        "add it",
    ),
    "W20 both": (
        "steps: {a: {application: basf2, cut: a, line: b}}\n",
        "2:41 BP207",
        "`cut`, `line` exclude each other",
        "keep one",
    ),
    "W22 retired": ("gt: x\n", "2:1 BP209", "retired since campaign/1", "write `global_tags`"),
    "W23 tool's key": ("fingerprint: x\n", "2:1 BP210", "belongs to the tool", "remove"),
    "W23 tool's prefix": ("b2p-x: x\n", "2:1 BP210", "belongs to the tool", "remove"),
    "W24 name": ("site: -rf\n", "2:7 BP301", "`-rf`", "use letters"),
    "W24 line break": ("site: |\n  kekcc\n", "2:7 BP301", "", "use letters"),
    "W24 other script's digits": ("site: kekcc\u0663\n", "2:7 BP301", "", ""),
    "W24 key": ("steps: {A: {application: basf2, cut: x}}\n", "2:9 BP301", "`A`", "must match"),
    "W52 repeated": ("outputs: [a, b, a]\n", "2:17 BP601", "`a` is listed twice", "keep one"),
    "branch by its constant": (
        "input: {from: files, level: mdts}\n",
        "2:29 BP205",
        "",
        "did you mean `mdst`",
    ),
    "branch, missing key": ("input: {from: step}\n", "2:1 BP202", "`step` is missing", ""),
    "no branch": (
        "input: {from: nowhere}\n",
        "2:8 BP207",
        "none of the allowed forms: a step's output, files",
        "",
    ),
}


@pytest.mark.parametrize(("text", "at", "message", "hint"), CASES.values(), ids=CASES)
def test_one_mistake_is_one_finding(text, at, message, hint):
    found = findings_of(f"schema: campaign/1\n{text}")
    assert [f"{one.place.line}:{one.place.column} {one.code}" for one in found] == [at]
    assert message in found[0].message
    assert hint in found[0].hint or hint in found[0].message
    assert str(found[0]).isprintable()


def test_valid_manifest_has_no_findings():
    text = """
schema: campaign/1
title: "1.10"
kind: 'on'
release: 'yes'
site: kekcc
outputs: [mdst, cdst]
enabled: true
fraction: 1
value: 3
value_list: [x]
input: {from: step, step: reco}
runs: [{experiment: 3, ranges: "529-613"}, {experiment: 4, from: 1, max_runs: 100}]
steps: {reco: {application: basf2, cut: x}}
"""
    assert findings_of(text) == ()


def test_w14_misspelt_selector_gives_both_findings():
    schema = {**SCHEMA, "required": ["schema", "runs"]}
    found = findings_of("schema: campaign/1\nrun_list: []\n", schema)
    assert [(one.code, one.place.line) for one in found] == [("BP202", 1), ("BP201", 2)]


def test_w15_missing_key_tells_title_and_example():
    schema = {**SCHEMA, "required": ["release"]}
    (finding,) = findings_of("schema: campaign/1\n", schema)
    assert finding.message == "`release` (Basf2 release) is missing in the file"
    assert finding.hint == "add `release: 'release-03-00-00'`"


@pytest.mark.parametrize("text", ["schema: campaign/2\n", "schema: 1\n"])
def test_w21_unknown_version_names_those_that_are_read(text):
    (finding,) = findings_of(text)
    assert (finding.code, finding.hint) == ("BP208", "it reads: `campaign/1`")


def test_all_findings_come_at_once_sorted_by_place():
    found = findings_of("schema: campaign/1\nkind: x\nruns: [{experiment: a}, {}]\nrelese: 1\n")
    assert [one.code for one in found] == ["BP205", "BP204", "BP202", "BP201"]
    assert list(found) == sorted(set(found))


def test_unknown_key_is_reported_once_whatever_is_in_it():
    found = findings_of("schema: campaign/1\nnothing: {a: on, b: [0123]}\n")
    assert [one.code for one in found] == ["BP201"]


def test_what_the_reader_refused_is_not_reported_again():
    document, findings = read_yaml(
        "f", b"schema: campaign/1\nsite: '{{x}}'\nfraction: .nan\n1: x\nkind: !a b\nrelese: x\n"
    )
    assert {one.code for one in findings} == {"BP110", "BP109", "BP204", "BP106"}
    assert [one.code for one in validate(document, SCHEMA)] == ["BP201"]


def test_root_that_is_no_mapping():
    (finding,) = findings_of("- a\n")
    assert (finding.code, finding.message) == (
        "BP204",
        "the file must be a mapping (`key: value`), not a list",
    )


def test_json_of_the_tool_is_checked_with_pointers():
    schema = {
        "type": "object",
        "properties": {"a/b": {"type": "array", "items": {"type": "integer"}}},
        "required": ["c"],
    }
    assert validate_json({"a/b": [1, "x"], "c": 1}, schema) == (
        "/a~1b/1: item 2 of `a/b` must be a whole number, not the text `x`",
    )
    assert validate_json({}, schema) == ("/: `c` is missing in the file",)
    assert validate_json({"a/b": [1], "c": None}, schema) == ()
    assert validate_json({"a/b": [1.0], "c": None}, schema) != ()


def test_schemas_refer_to_definitions_of_their_own_alone():
    for file in Path(__file__).parents[2].glob("schemas/*.schema.json"):
        schema = json.loads(file.read_bytes())
        for name in re.findall(r'"\$ref": *"([^"]*)"', file.read_text()):
            assert name.removeprefix("#/$defs/") in schema["$defs"], file


def test_schemas_are_read_from_beside_the_module():
    with pytest.raises(FileNotFoundError):
        load_schema("no_such_schema")
    assert load_schema("campaign") is load_schema("campaign")


def test_misspelt_key_of_every_level_is_found():
    base = {
        "schema": "campaign/1",
        "runs": [{"experiment": 3}],
        "steps": {"a": {"application": "basf2", "cut": "x"}},
    }
    for path in (["schema"], ["runs"], ["steps"], ["runs", 0, "experiment"], ["steps", "a", "application"]):
        mutant = json.loads(json.dumps(base))
        parent = mutant
        for part in path[:-1]:
            parent = parent[part]
        parent[f"{path[-1]}x"] = parent.pop(path[-1])
        document, _ = read_yaml("f", json.dumps(mutant).encode())
        assert any(
            one.code == "BP201" and f"did you mean `{path[-1]}`" in one.hint
            for one in validate(document, SCHEMA)
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schema", "runs", "steps", "input", "value", "x", "from", "kind"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_value_is_accepted_or_explained(value):
    lines = validate_json(value, SCHEMA)
    assert all(line.startswith("/") and line.isprintable() and len(line) < 600 for line in lines)
