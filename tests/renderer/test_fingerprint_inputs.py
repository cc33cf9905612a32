"""Every key that a campaign can have is flipped once: what determines data moves fingerprints, nothing else does.

The table is held against the schema, so that a new key must be decided here.
"""

from __future__ import annotations

import pytest

from tests.support.inputs.fingerprints import EVERYTHING, SKIMS, declare, moved
from tests.support.tables.manifest_keys import EXEMPT, FLIPS, NAME, list_keys
from tests.support.worlds.builders import CAMPAIGN, campaign

MOVED = {
    "release": EVERYTHING,
    "steps/template": EVERYTHING,
    "steps/input/level": SKIMS,
    "steps/parameters": EVERYTHING,
    "steps/keep": SKIMS,
    "steps/split": EVERYTHING,
}
"""What a key moves; the others move nothing."""


@pytest.mark.parametrize("key", FLIPS)
def test_a_key_moves_what_it_determines_and_nothing_else(key):
    assert moved(declare(CAMPAIGN), declare(campaign(FLIPS[key]))) == MOVED.get(key, set())


def test_another_content_of_the_tag_moves_what_its_name_does_not():
    assert moved(declare(CAMPAIGN), declare(campaign((NAME, "name: changed")))) == EVERYTHING


def test_every_key_of_the_schema_is_in_the_table():
    assert list_keys() == FLIPS.keys() | EXEMPT.keys()
