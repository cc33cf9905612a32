"""The retention as a value: which rule counts, what it says when it says nothing, and that it is part of the pinned root."""

from __future__ import annotations

import pytest

from ci.approvals.root_text import describe_changes
from schemas.files.tree import read_tree
from schemas.policy.policy import read_policy, select_root
from schemas.policy.retention import RETENTION, find_retained_level, read_retention
from schemas.yaml.document import read_yaml
from tests.support.tables.field_places import ROOT

TEXT = """\
schema: retention/1
rules:
  - {site: kekcc, kinds: [reprocessing], levels: [mdst, cdst], disk: 2, tape: all, versions: 1}
  - {site: kekcc, levels: [skim], disk: all, tape: rest, after_days: 0}
  - {site: kekcc, versions: 3}
"""


def read(text: str):
    document, findings = read_yaml(RETENTION, text.encode())
    assert document is not None, findings
    return read_retention(document)


@pytest.mark.parametrize(
    ("site", "kind", "level", "number"),
    [
        ("kekcc", "reprocessing", "mdst", 0),
        ("kekcc", "reprocessing", "dst", 2),
        ("kekcc", "prompt", "mdst", 2),
        ("kekcc", "prompt", "skim", 1),
        ("grid", "reprocessing", "mdst", None),
    ],
)
def test_the_first_rule_that_fits_counts(site, kind, level, number):
    policy = read(TEXT)
    assert policy.find_rule(site, kind, level) == (None if number is None else policy.rules[number])


def test_what_a_rule_does_not_say_lets_nothing_go():
    first, second, third = read(TEXT).rules
    assert (first.disk, first.versions, first.after_days, first.quarantine_days) == (2, 1, 30, 30)
    assert (second.disk, second.tape, second.versions, second.after_days) == (None, "rest", None, 0)
    assert (third.disk, third.tape, third.versions) == (None, "none", 3)


@pytest.mark.parametrize(
    ("output", "level"),
    [
        ("mdst", "mdst"),
        ("hlt_hadron", "skim"),
        ("histograms", "histograms"),
        ("histograms_json", "histograms"),
    ],
)
def test_levels_of_outputs(output, level):
    assert find_retained_level(output) == level


def test_a_change_of_the_retention_is_a_change_of_the_root_and_of_nothing_else():
    tree = read_tree(ROOT)[0]
    changed = {**tree, RETENTION: tree[RETENTION].replace(b"disk: 2", b"disk: 1")}
    (before, _), (after, _) = read_policy(tree), read_policy(changed)
    assert before is not None
    assert after is not None
    assert before.root != after.root
    assert before.digest == after.digest
    told = "\n".join(describe_changes(select_root(tree), select_root(changed)))
    assert RETENTION in told
    assert '"disk": 1' in told
