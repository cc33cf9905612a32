"""Attacks through line breaks: a second line in a value would be a directive in somebody's submit file."""

from __future__ import annotations

import pytest

from tests.support.inputs.planted_manifests import FIELDS, plant
from tests.support.worlds import builders

BREAKS = (
    "\n#SBATCH --uid=0",
    "\r#BSUB -q root",
    "\nqueue 1000000",
    "\x00",
    "\x85X",
    "\u2028]; InputData = {}",
)


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("directive", BREAKS, ids=lambda value: value.encode("unicode_escape").decode())
def test_s7_no_value_has_a_second_line(field, directive):
    base, _ = builders.read(builders.tree())
    text = plant(base.campaigns["proc7"].document.data, [FIELDS[field]], f"x{directive}").text
    found = builders.check(builders.tree(campaign=text))
    assert found, text
    assert {finding.place.file for finding in found} <= {builders.FILES["campaign"]}


@pytest.mark.parametrize("directive", BREAKS, ids=lambda value: value.encode("unicode_escape").decode())
@pytest.mark.parametrize("key", ["queue", "title", "storage"])
def test_s7_no_value_of_a_site_has_a_second_line(key, directive):
    escaped = directive.encode("unicode_escape").decode().replace("\\x00", "\\0")
    lines = [line for line in builders.SITE.splitlines() if not line.startswith(f"{key}:")]
    text = "\n".join([*lines, f'{key}: "x{escaped}"', ""]).replace(
        "engine: local", "engine: slurm" if key == "queue" else "engine: local"
    )
    found = builders.check(builders.tree(site=text))
    assert [one for one in found if one.place.file == builders.FILES["site"]], text
