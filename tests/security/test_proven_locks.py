"""A lock is proven, not believed: what somebody wrote into one by hand is noticed before it is signed, and never launched."""

from __future__ import annotations

import html
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ci.changes.export import write_export
from ci.cli.exits import Exit
from reconciler.ledger.store.database import opened
from reconciler.model.run import Run
from reconciler.planning.pinning import pin_campaign
from reconciler.run_catalogue.run_import import import_runs
from schemas.manifest.runs import run_key
from schemas.policy.scopes import pin_scopes
from tests.support.inputs.keys import ORDER, PERSON
from tests.support.worlds.signable_checkout import SignableCheckout

LOCK = "productions/campaigns/proc7/campaign.lock"


@pytest.fixture
def signable(tmp_path, circle):
    """A campaign of the physics runs of 1 to 4, which are 1 and 3; its lock is honest, and nothing is signed."""
    made = SignableCheckout(tmp_path / "checkout", circle)
    kinds = ("physics", "cosmic", "physics", "cosmic")
    with opened(made.state) as engine:
        import_runs(engine, [Run(3, number, kind) for number, kind in enumerate(kinds, 1)])
    for number in (3, 4):
        made.register(number, f"raw.{number}.0.root")
    made.change(('ranges: "1-2"', 'ranges: "1-4", types: [physics]'))
    assert made.repository().campaigns["proc7"].lock.pinned()["runs"] == ["3:1,3"]
    made.base = made.commit("an honest lock")
    return made


def forge(signable, *runs):
    """Writes the lock that `resolve` would write for these runs."""
    repository = signable.repository()
    declared = repository.campaigns["proc7"]
    keys = [run_key(3, number) for number in runs]
    signable.write(LOCK, pin_campaign(declared, repository, keys, declared.lock.generation + 1).text())
    return signable.commit("a lock by hand")


def launch(signable):
    signable.sign(*ORDER)
    signable.commit("approved")
    return signable.call("reconcile", "--once")


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (
            (1, 2, 3),
            "the lock of proc7 has 3:2, which no selector takes: of 3:2, its type is cosmic, not physics",
        ),
        ((1, 2), "the lock of proc7 has 3:2, which no selector takes"),
        ((2, 4), "the lock of proc7 has 3:2,4, which no selector takes"),
        ((1,), "the lock of proc7 lacks 3:3, which its selectors take"),
    ],
    ids=["one more", "moved", "others", "one less"],
)
def test_a_lock_with_other_runs_is_found_by_its_reviewers_and_not_launched(
    signable, capsys, tmp_path, runs, told
):
    head = forge(signable, *runs)
    export = tmp_path / "state.zip"
    write_export(signable.state, export, None, datetime.now(UTC))
    capsys.readouterr()
    for verb in ("review", "check"):
        asked = (verb, "--base", signable.base, "--head", head, "--state-export", export)
        assert signable.call(*asked) == Exit.FINDINGS
        assert told in html.unescape(capsys.readouterr().out)
    signable.sign(*ORDER)
    signable.commit("approved")
    assert signable.call("approvals", "proc7") == Exit.REFUSED
    assert told in " ".join(capsys.readouterr().out.split())
    if {1, 3} & {*runs}:  # else nothing of it could begin anyway
        for words in ((), ("proc7",)):
            assert signable.call("reconcile", "--once", *words) == Exit.REFUSED
            assert told in " ".join(capsys.readouterr().err.split())
    # runs that are in no order are blocked, which is more than an approval that is missing
    assert signable.call("reconcile", "--once", "proc7") == (
        Exit.REFUSED if {1, 3} & {*runs} else Exit.PARTLY
    )
    assert not signable.starts


def test_who_is_about_to_sign_is_told_what_the_catalogue_does_not_bear_out(signable, capsys, monkeypatch):
    key = signable.circle.key(PERSON["calibration"]).file
    for runs, told in (((1, 3), False), ((1, 2, 3), True)):
        forge(signable, *runs)
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
        assert signable.call("approve", "proc7", "--role", "calibration", "--key", key) != Exit.FINE
        assert (
            "NOT PROVEN by the run catalogue here: the lock of proc7 has 3:2" in capsys.readouterr().out
        ) is told


def test_a_run_that_no_range_has_needs_no_catalogue_to_be_found(signable, capsys):
    signable.register_runs([9])
    head = forge(signable, 1, 3, 9)
    assert signable.call("check", "--base", signable.base, "--head", head) == Exit.FINDINGS
    assert "the lock has 3:9, which no selector names" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"selection": "0" * 64},
        {"release": "release-03-00-01"},
        {"commit": "0" * 40},
        {"steps": (("reco", "0" * 64),)},
        {"templates": (("raw_to_mdst/1", "0" * 64),)},
        {"storage": "elsewhere"},
        {"engine": "slurm"},
        {"layout": "{campaign}/{step}/{experiment}/{run}/{level}/{stream}/{version}"},
        {"historic": "0" * 64},
        {"campaign": "proc8"},
        {"tags": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_other_entry_of_a_lock_is_believed_either(signable, capsys, change):
    """Scopes and generations fit to what was written, as whoever forges a lock would have it."""
    declared = signable.repository().campaigns["proc7"]
    forged = replace(declared.lock, generation=declared.lock.generation + 1, **change)
    forged = pin_scopes(forged, declared.campaign, declared.document.data, declared.lock)
    signable.write(LOCK, forged.text())
    head = signable.commit("a lock by hand")
    assert signable.call("review", "--base", signable.base, "--head", head) != Exit.FINE
    assert launch(signable) != Exit.FINE
    assert not signable.starts


def test_one_word_of_a_lock_that_is_edited_is_found(signable):
    text = (signable.root / LOCK).read_text()
    for key, value in json.loads(text).items():
        if isinstance(value, int | str):
            other = text.replace(f'"{key}": {json.dumps(value)}', f'"{key}": {json.dumps(value * 2)}')
            assert other != text
            signable.write(LOCK, other)
            assert signable.call("check") == Exit.FINDINGS, key


def test_what_comes_to_the_catalogue_after_a_launch_stops_only_what_it_is_about(signable, capsys):
    """A run whose type was corrected is not made any more; one that came late is not taken in; the others go on."""
    signable.behave("status 7", "reco-3")
    launch(signable)
    with opened(signable.state) as engine:
        import_runs(engine, [Run(3, 3, "cosmic"), Run(3, 4, "physics")])
    signable.retry()
    assert ("blocked", "reco", "3:3") in [group[:3] for group in signable.groups()]
    reason = next(group[3] for group in signable.groups() if group[2] == "3:3")
    assert reason.startswith("the lock has it, and its type is cosmic, not physics")
    assert signable.call("reconcile", "--once") == Exit.PARTLY, "its run is blocked until it is locked again"
    assert not [group for group in signable.groups() if "3:4" in group[2]]
    signable.change(('"1-4"', '"1-4", exclude: "3"'))
    signable.commit("locked again")
    assert signable.repository().campaigns["proc7"].lock.pinned()["runs"] == ["3:1,4"]
    assert launch(signable) == Exit.FINE
    assert [one[2] & 0xFFFF for one in signable.produced()] == [1, 4]


def test_where_nobody_signs_a_run_that_came_after_the_lock_stops_nothing(signable):
    exemption = "  exemptions:\n    - {site: local, engine: local, area: data, nobody: true, reason: tests}\n"
    signable.write("productions/roles.yaml", signable.circle.root()["productions/roles.yaml"] + exemption)
    signable.commit("exempted")
    signable.pin()
    with opened(signable.state) as engine:
        import_runs(engine, [Run(3, 4, "physics")])
    assert signable.call("reconcile", "--once") == Exit.FINE
    assert [one[2] & 0xFFFF for one in signable.produced()] == [1, 3]
