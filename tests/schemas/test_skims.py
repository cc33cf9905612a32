"""Skim menus: the talk's slide has a bracket too many, and is refused where it has it."""

from __future__ import annotations

from pathlib import Path

from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.findings.finding import Place
from schemas.repository import read_repository

ROOT = Path(__file__).parents[2]
MENU = "productions/skims/hlt-2019.yaml"
RIGHT = '"[[nTracksLE <= 1] and [[nEidLE == 0] and [[EC12CMSLE > 4] and [EC1CMSLE > 2]]]]"'
SLIDE = '"[[nTracksLE <= 1] and [[nEidLE == 0] and [[EC12CMSLE > 4] and [[EC1CMSLE > 2]]]]"'


def test_the_slides_gamma_gamma_is_refused_where_it_is_wrong():
    text = (ROOT / MENU).read_text()
    assert text.count(RIGHT) == 1
    changed = text.replace(RIGHT, SLIDE)
    line, column = next(
        (n, row.index(SLIDE)) for n, row in enumerate(changed.splitlines(), 1) if SLIDE in row
    )
    tree, _ = read_tree(ROOT)
    _, findings = read_repository({**tree, MENU: changed.encode()}, load_templates())
    (finding,) = [finding for finding in findings if finding.code == "BP516"]
    assert "8 `[` and 7 `]`" in finding.message
    assert finding.place == Place(MENU, line, column + 2), "the first bracket is the one that is not closed"
