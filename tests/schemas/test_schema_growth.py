"""What was valid stays valid: each schema of manifests accepts whatever it accepted when its version was given out.

In tests/golden/schemas lie the schemas as they were given out, without their texts. A change that narrows one of them is
a new version, beside the old one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.json_schema.validation import load_schema

GIVEN_OUT = Path(__file__).parents[1] / "golden" / "schemas"
NAMES = ("campaign", "layouts", "releases", "site", "skims")


def follow(part, schema):
    """A part of a schema with what it refers to."""
    if "$ref" not in part:
        return part
    named = schema["$defs"][part["$ref"].removeprefix("#/$defs/")]
    return {**named, **{key: value for key, value in part.items() if key != "$ref"}}


def listed(value):
    return set(value) if isinstance(value, list) else {value}


def narrowings(old, new, before, after, path=""):
    """The places at which `new` refuses something that `old` accepts."""
    old, new = follow(old, before), follow(new, after)
    here = path or "/"
    if "type" in new and not ("type" in old and listed(old["type"]) <= listed(new["type"])):
        yield f"{here}: type"
    allowed = [one.get("enum", [one["const"]] if "const" in one else None) for one in (old, new)]
    if allowed[1] is not None and not (allowed[0] is not None and set(allowed[0]) <= set(allowed[1])):
        yield f"{here}: enum"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{here}: pattern"
    for key in [key for key in new if key.startswith(("min", "max"))]:
        limits = old.get(key), new[key]
        if limits[0] is None or (limits[1] > limits[0] if key.startswith("min") else limits[1] < limits[0]):
            yield f"{here}: {key}"
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        yield f"{here}: uniqueItems"
    yield from (
        f"{here}: {key} required" for key in set(new.get("required", ())) - {*old.get("required", ())}
    )
    for key, part in old.get("properties", {}).items():
        if key in new.get("properties", {}):
            yield from narrowings(part, new["properties"][key], before, after, f"{path}/{key}")
        else:
            yield f"{path}/{key}: gone"
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(new.get(key), dict):
            yield from narrowings(old.get(key) or {}, new[key], before, after, f"{path}/{key}")
        elif new.get(key) is False and old.get(key) is not False:
            yield f"{here}: {key}"


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_accepts_what_it_accepted(name):
    given_out = json.loads((GIVEN_OUT / f"{name}-1.json").read_text())
    today = load_schema(name)
    assert list(narrowings(given_out, today, given_out, today)) == []


@pytest.mark.parametrize(
    ("place", "change", "found"),
    [
        (("properties", "state"), {"enum": ["active", "held"]}, "/state: enum"),
        (("properties", "title"), {"maxLength": 60}, "/title: maxLength"),
        (("properties",), {"reuse": None}, "/reuse: gone"),
        ((), {"required": ["schema", "title", "ticket"]}, "/: ticket required"),
        (
            ("$defs", "step", "properties", "split"),
            {"enum": ["run"]},
            "/steps/additionalProperties/split: enum",
        ),
        (("$defs", "name"), {"pattern": "^[a-z]+$"}, "/site: pattern"),
    ],
)
def test_a_narrower_schema_is_noticed(place, change, found):
    given_out = json.loads((GIVEN_OUT / "campaign-1.json").read_text())
    narrower = json.loads((GIVEN_OUT / "campaign-1.json").read_text())
    part = narrower
    for key in place:
        part = part[key]
    for key, value in change.items():
        part.pop(key) if value is None else part.update({key: value})
    assert found in list(narrowings(given_out, narrower, given_out, narrower))
