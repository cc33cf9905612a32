"""What the validator in Rust calls valid is valid for the one whose errors become findings too."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.json_schema.strict_validator import find_errors
from schemas.json_schema.validation import load_schema
from schemas.yaml.document import read_yaml

ROOT = Path(__file__).parents[2]


def read_sound():
    """Schema and content of every manifest of this repository."""
    kinds = {
        "campaign.yaml": "campaign",
        "layouts.yaml": "layouts",
        "releases.yaml": "releases",
        "roles.yaml": "roles",
    }
    folders = {"sites": "site", "skims": "skims"}
    for file in sorted((ROOT / "productions").rglob("*.yaml")):
        schema = kinds.get(file.name) or folders.get(file.parent.name)
        if schema is not None:
            document, _ = read_yaml(file.name, file.read_bytes())
            yield schema, document.data
    for file in sorted((ROOT / "productions").rglob("campaign.lock")):
        yield "lock", json.loads(file.read_bytes())


SOUND = list(read_sound())
ODD = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.0,
        1.5,
        2**63,
        2**70,
        -(2**70),
        1e300,
        "",
        "a",
        "a\n",
        "\n",
        "é",
        "٣",
        "\ud800",
    ),
    *(
        "release-03-00-00\n",
        "proc7",
        "3:529",
        "/data",
        "x" * 5000,
        [],
        {},
        [[]],
        ["a", "a"],
        [1, 1.0, True],
        {"a": 1},
    ),
]


def list_places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from list_places(item, (*path, key))


@st.composite
def damaged(draw):
    """A schema, and a sound content with a few values or keys exchanged or dropped."""
    schema, content = draw(st.sampled_from(SOUND))
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from([one for one in list_places(content) if one]))
        *way, last = path
        parent = content
        for part in way:
            parent = parent[part]
        if draw(st.booleans()):
            parent[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif isinstance(parent, dict) and draw(st.booleans()):
            parent[draw(st.sampled_from(["unknown", "a b", "", "runs"]))] = parent.pop(last)
        else:
            del parent[last]
        if not content:
            break
    return schema, content


@settings(max_examples=500, deadline=None)
@given(damaged())
def test_no_error_is_missed(found):
    schema, content = found
    if load_schema(schema).suits(content):
        assert list(find_errors(content, load_schema(schema))) == []


def list_patterns(schema):
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            yield from list_patterns(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from list_patterns(one)


def test_patterns_are_of_whole_texts():
    """One validator searches for a pattern, and the other one wants the whole text."""
    for file in sorted((ROOT / "schemas").glob("*.schema.json")):
        for pattern in list_patterns(json.loads(file.read_bytes())):
            assert (pattern[0], pattern[-1]) == ("^", "$"), (file.name, pattern)


@example(("campaign", SOUND[0][1]))
@given(st.sampled_from(SOUND))
def test_what_is_sound_is_judged_at_once(found):
    schema, content = found
    assert load_schema(schema).suits(content)
