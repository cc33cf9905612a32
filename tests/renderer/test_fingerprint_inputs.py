"""Every key that a campaign can have is flipped once: what determines data moves fingerprints, nothing else does.

The table is held against the schema, so that a new key must be decided here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from renderer.identity.units import declare_units
from renderer.steering import load_templates
from schemas.repository import read_repository
from tests.renderer.test_fingerprint import EVERYTHING, INPUTS, RUNS, SKIMS, moved
from tests.support.tables.manifest_keys import EXEMPT, FLIPS, NAME, OTHERS, list_keys
from tests.support.worlds.builders import CAMPAIGN, campaign, tree

MOVED = {
    "release": EVERYTHING,
    "steps/template": EVERYTHING,
    "steps/input/level": SKIMS,
    "steps/parameters": EVERYTHING,
    "steps/keep": SKIMS,
    "steps/split": EVERYTHING,
}
"""What a key moves; the others move nothing."""


def declare(text):
    template = load_templates()["raw_to_mdst/1"]
    other = replace(template, name="raw_to_mdst/2", text=template.text + "\nprint('2')\n")
    templates = {**load_templates(), other.name: other}
    releases = tree()["productions/releases.yaml"].decode()
    extra = {**OTHERS, "releases": f'{releases}  release-03-00-01: {{date: "2019-01-26"}}\n'}
    repository, findings = read_repository(tree(campaign=text, **extra), templates)
    assert not findings, findings
    units = declare_units(repository.campaigns["proc7"].campaign, repository, RUNS, INPUTS)
    return {
        (item.step.name, output): list(column)
        for item in units
        for output, column in item.fingerprints.items()
    }


@pytest.mark.parametrize("key", FLIPS)
def test_a_key_moves_what_it_determines_and_nothing_else(key):
    assert moved(declare(CAMPAIGN), declare(campaign(FLIPS[key]))) == MOVED.get(key, set())


def test_another_content_of_the_tag_moves_what_its_name_does_not():
    assert moved(declare(CAMPAIGN), declare(campaign((NAME, "name: changed")))) == EVERYTHING


def test_every_key_of_the_schema_is_in_the_table():
    assert list_keys() == FLIPS.keys() | EXEMPT.keys()
