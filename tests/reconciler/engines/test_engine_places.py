"""Every engine stands in each place where an engine must stand, and nothing else compares an engine's name."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from reconciler.engines import ENGINES, FILES_FOR
from schemas.json_schema.validation import load_schema
from schemas.policy.site import Site, load_engines
from tests.contract.rigs import RIGS

ROOT = Path(__file__).parents[3]
NAMES = load_schema("site")["properties"]["engine"]["enum"]
ROOMS = ("schemas", "renderer", "reconciler", "ci")


def test_every_engine_stands_in_each_of_its_places():
    folders = {path.parent.name for path in (ROOT / "reconciler/engines").glob("*/engine.py")}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (apart,) = (one for one in settings["tool"]["importlinter"]["contracts"] if one["id"] == "engines")
    places = {
        "x-engines of schemas/site.schema.json": set(load_engines()),
        "folders of reconciler/engines": folders,
        "ENGINES": set(ENGINES),
        "RIGS of the contract tests": set(RIGS),
        "the independence contract of pyproject.toml": {name.rpartition(".")[2] for name in apart["modules"]},
    }
    assert {place: sorted(names) for place, names in places.items()} == dict.fromkeys(places, sorted(NAMES))
    assert FILES_FOR.keys() <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_says_of_an_engine_what_the_engine_says_of_itself(name):
    settings = {"diracx": {"url": "https://x", "vo": "belle", "group": "belle_user", "user": "somebody"}}
    engine = ENGINES[name](Site("here", name, "data", engine_settings=settings), 1.0)
    assert engine.attached == load_engines()[name].attached


def test_nothing_outside_the_engines_compares_an_engines_name():
    found = []
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            if (ROOT / "reconciler/engines") in file.parents:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Compare | ast.Match):
                    words = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
                    found += [f"{file.relative_to(ROOT)}:{node.lineno}"] if words & set(NAMES) else []
    assert found == []
