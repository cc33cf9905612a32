"""Scopes: what each change of a campaign does to what people signed."""

from __future__ import annotations

import pytest

from reconciler.planning.pinning import pin_campaign
from schemas.manifest.runs import run_key
from schemas.policy.scopes import digest_scopes
from tests.support.worlds import builders

RUNS = tuple(run_key(3, number) for number in (529, 530))

DEVIATING = builders.campaign(("kind: reprocessing", "kind: calibration"))
OVERRIDE = """\
    overrides:
      - {module: A, parameter: b, value: 1, reason: why, ticket: AB-1}
    parameters: {components"""


def scopes(campaign=builders.CAMPAIGN, runs=RUNS, name="proc7", **changes):
    """The scopes of a campaign as `resolve` would write them today."""
    files = builders.tree(campaign=campaign, **changes)
    repository, findings = builders.read(files)
    assert not findings
    lock = pin_campaign(repository.campaigns[name], repository, runs)
    return dict(lock.scopes)


def moved(before, after):
    assert before.keys() == after.keys() == {"release", "calibration", "everything"}
    return {name for name in before if before[name] != after[name]}


CHANGES = {
    "release": (
        {
            "campaign": [("release: release-03-00-00", "release: release-03-00-01")],
            "releases": [("release-04-00-00", "release-03-00-01")],
        },
        "release everything",
    ),
    "commit": (
        {"releases": [('{date: "2019-01-05", rec', "{commit: " + "a" * 40 + ', date: "2019-01-05", rec')]},
        "release everything",
    ),
    "outputs": ({"campaign": [("outputs: [mdst, cdst]", "outputs: [mdst]")]}, "release everything"),
    "parameters": ({"campaign": [("prune_tracks: false", "prune_tracks: true")]}, "release everything"),
    "definition of a skim": ({"skims": [("[nTracksLE >= 3]", "[nTracksLE >= 4]")]}, "release everything"),
    "payloads of the tag": ({"snapshot": None}, "calibration everything"),
    "selector": ({"campaign": [("529-613, 620", "529-614, 620")]}, "calibration everything"),
    "types": ({"campaign": [("types: [physics, beam]", "types: [physics]")]}, "calibration everything"),
    "layout": ({"layouts": [("{campaign}/{step}", "{step}/{campaign}")]}, "everything"),
    "storage": ({"site": [("storage: data", "storage: elsewhere")]}, "everything"),
    "max_units": ({"campaign": [("max_units: 4000", "max_units: 4001")]}, "everything"),
    "max_restate": ({"campaign": [("max_restate: 0", "max_restate: 1")]}, "everything"),
    "supersedes": ({"campaign": [("site: local", "supersedes: [GCR5b]\nsite: local")]}, "everything"),
    "title": ({"campaign": [("title: Phase 2", "title: Phase II")]}, ""),
    "contact": ({"campaign": [("production-manager", "second-manager")]}, ""),
    "ticket": ({"campaign": [("BIIDP-1000", "BIIDP-1001")]}, ""),
    "state": ({"campaign": [("site: local", "state: held\nsite: local")]}, ""),
    "queue": ({"site": [("storage: data", "storage: data\nqueue: long")]}, ""),
    "slots": ({"site": [("storage: data", "storage: data\nslots: 2")]}, ""),
    "comment": ({"campaign": [("site: local", "site: local  # here")]}, ""),
}
"""Name → what changes in which file, and the scopes that move. `proposer` and `coordinator` answer for everything."""


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_change_invalidates(name):
    edits, expected = CHANGES[name]
    valid = {
        "campaign": builders.CAMPAIGN,
        "releases": builders.RELEASES,
        "skims": builders.SKIMS,
        "layouts": builders.LAYOUTS,
        "site": builders.SITE,
    }
    changes = {
        file: builders.swap(valid[file], *edit)
        if edit is not None
        else builders.snapshot("data_reprocessing_proc7", "CDCGeometry 2 " + "1" * 32 + " 0,0,-1,-1")
        for file, edit in edits.items()
    }
    assert moved(scopes(), scopes(**changes)) == set(expected.split())


def test_runs_that_a_closed_selection_gains_are_the_calibrations_to_judge():
    assert moved(scopes(), scopes(runs=(*RUNS, run_key(3, 531)))) == {"calibration", "everything"}


def test_a_deviation_invalidates_everything():
    plain = scopes(campaign=DEVIATING)
    changed = scopes(campaign=builders.swap(DEVIATING, ("    parameters: {components", OVERRIDE)))
    assert moved(plain, changed) == {"release", "calibration", "everything"}
    other = builders.swap(
        DEVIATING, ("    parameters: {components", OVERRIDE.replace("value: 1", "value: 2"))
    )
    assert moved(changed, scopes(campaign=other)) == {"release", "calibration", "everything"}


@pytest.mark.parametrize(("old", "new"), [("max_runs: 800", "max_runs: 801"), ("2019-04-30", "2019-05-30")])
def test_caps_of_an_open_selection_are_limits(old, new):
    """New runs inside of it need nothing: they are in no lock. A higher cap is the coordinator's to grant."""
    changed = builders.swap(builders.PROMPT, (old, new))
    before, after = (scopes(name="GCR5b", runs=(), prompt=text) for text in (builders.PROMPT, changed))
    assert moved(before, after) == {"everything"}
    wider = builders.swap(builders.PROMPT, ("from: 1", "from: 0"))
    assert moved(before, scopes(name="GCR5b", runs=(), prompt=wider)) == {"calibration", "everything"}


def test_scopes_of_two_campaigns_that_are_alike_differ():
    files = builders.tree()
    files["productions/campaigns/proc8/campaign.yaml"] = files[builders.FILES["campaign"]]
    repository, _ = builders.read(files)
    first, second = (
        dict(pin_campaign(repository.campaigns[name], repository, RUNS).scopes) for name in ("proc7", "proc8")
    )
    assert not set(first.values()) & set(second.values())


def test_a_key_of_the_manifest_that_nobody_has_thought_of_is_the_coordinators():
    repository, _ = builders.read(builders.tree())
    declared = repository.campaigns["proc7"]
    lock = pin_campaign(declared, repository, RUNS)
    other = {**declared.document.data, "canary": 5}
    assert moved(dict(lock.scopes), dict(digest_scopes(lock, declared.campaign, other))) == {"everything"}


def test_a_scope_is_of_the_generation_since_which_it_is_as_it_is():
    """What changes and comes back is of a new generation: what was signed then does not count again."""
    files = builders.tree()
    seen = []
    for generation, text in enumerate(
        (
            builders.CAMPAIGN,
            builders.campaign(("outputs: [mdst, cdst]", "outputs: [mdst]")),
            builders.CAMPAIGN,
            builders.campaign(("max_units: 4000", "max_units: 5000")),
        ),
        1,
    ):
        files[builders.FILES["campaign"]] = text.encode()
        repository, findings = builders.read(files)
        assert not findings
        lock = pin_campaign(repository.campaigns["proc7"], repository, RUNS, generation)
        files[builders.FILES["lock"]] = lock.text().encode()
        seen.append(lock)
    since = [dict(lock.since) for lock in seen]
    assert [one["calibration"] for one in since] == [1, 1, 1, 1]
    assert [one["release"] for one in since] == [1, 2, 3, 3]
    assert [one["everything"] for one in since] == [1, 2, 3, 4]
    assert dict(seen[0].scopes)["release"] == dict(seen[2].scopes)["release"]
    assert dict(seen[0].scopes)["everything"] != dict(seen[2].scopes)["everything"], "it says since when"
