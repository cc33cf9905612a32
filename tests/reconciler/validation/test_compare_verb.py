"""`b2prod compare` on real skims: heads and editions, what is read of the ledger, and what is said of slips."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib

import pytest
from sqlalchemy import delete, update

from ci.approvals.root_text import describe_changes
from ci.cli.exits import Exit
from reconciler.ledger.schema.decision_tables import comparisons, trust_roots
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State, opened
from reconciler.ledger.writing.journal import read_journal, rebuild
from schemas.files.canonical import canonical_json
from tests.support.worlds.skim_checkout import Checkout
from tests.support.worlds.worlds import pin_checkout

CRITERIA = """\
schema: validation/1
title: For three runs
checks:
  events: {min_runs: 3}
  run_retention: {level: 0.001, warn: 0.1, fail: 0.3, min_runs: 3, min_events: 50}
  event_size: {warn: 0.2, fail: 0.5, min_runs: 3}
"""
LAX = """\
schema: validation/1
title: Everything passes
checks:
  event_size: {warn: 5, fail: 9, min_runs: 1}
"""
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 3]"}
  more: {cut: "[nTracksLE >= 5]"}
"""
EDITION, HEAD, OTHER = "seven/skims/many:1", "seven/skims/many", "seven/skims/more"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs of 400 events, skimmed by two cuts; one of the skims is frozen."""
    checkout = Checkout(
        tmp_path_factory.mktemp("made"), menu=MENU, size=400, tracks=lambda run, events: events % (run + 6)
    )
    checkout.declare("many", "more")
    checkout.write("productions/validations/three.yaml", CRITERIA)
    for words in (
        ("resolve", "seven"),
        ("trust", "pin"),
        ("reconcile", "--once"),
        ("dataset", "freeze", HEAD),
    ):
        assert checkout.b2prod(*words) == Exit.FINE
    shutil.copytree(checkout.state, checkout.root / "kept")
    return checkout


@pytest.fixture
def call(made, capsys):
    """Calls `b2prod compare`, and gives the exit code, stdout and stderr; afterwards the state is as before."""

    def compare(*words):
        capsys.readouterr()
        code = made.b2prod("compare", *words)
        told = capsys.readouterr()
        return code, told.out, told.err

    yield compare
    shutil.rmtree(made.state, ignore_errors=True)
    shutil.copytree(made.root / "kept", made.state)
    made.write("productions/validations/three.yaml", CRITERIA)
    (made.root / "productions/validations/two.yaml").unlink(missing_ok=True)


def test_a_head_passes_against_its_own_edition(call):
    code, out, _ = call(HEAD, EDITION)
    assert code == Exit.FINE
    assert out.startswith(f"{HEAD} against {EDITION}: pass\n3 runs of both: 7:1-3\n")


def test_another_skim_of_the_same_events_has_a_name_of_its_own_and_no_rate_to_compare(call):
    code, out, _ = call(OTHER, EDITION, "--json")
    assert code == Exit.FINDINGS
    verdicts = {result["check"]: result["verdict"] for result in json.loads(out)["results"]}
    assert verdicts == {"events": "pass", "run_retention": "inconclusive", "event_size": "fail"}


def test_the_json_is_canonical_and_the_same_every_time(call):
    out = call(HEAD, EDITION, "--json")[1]
    assert call(HEAD, EDITION, "--format", "json")[1] == out
    assert out.encode() == canonical_json(json.loads(out)) + b"\n"
    digest = hashlib.sha256(out.rstrip("\n").encode()).hexdigest()
    assert digest in call(HEAD, EDITION)[1]


def test_the_folder_gets_all_forms(call, tmp_path):
    code, out, _ = call(HEAD, EDITION, "--format", "markdown", "-o", str(tmp_path / "deep/folder"))
    assert code == Exit.FINE
    written = {file.name: file.read_text() for file in (tmp_path / "deep/folder").iterdir()}
    assert written["comparison.md"] == out
    assert written["comparison.txt"] == call(HEAD, EDITION)[1]
    assert written["comparison.json"] == call(HEAD, EDITION, "--json")[1]
    assert out.startswith("### seven/skims/many against ")


def test_an_event_that_is_not_read_fails_in_its_run(made, call):
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(update(outputs).where(outputs.c.run == 2).values(events_read=399))
    assert call(HEAD, EDITION)[0] == Exit.FINE  # both mean the same output
    with opened(State(made.state)) as engine, engine.begin() as connection:
        more = outputs.c.output == "more"
        connection.execute(update(outputs).where(outputs.c.run == 2, more).values(events_read=398))
    code, out, _ = call(OTHER, HEAD)
    assert code == Exit.FINDINGS
    assert "of 1 of 3 runs the numbers of events differ" in out
    assert "7:2  read    398     399      fail" in out


def test_events_that_were_not_counted_are_inconclusive(made, call):
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(update(outputs).values(events_read=None))
    code, out, _ = call(HEAD, EDITION)
    assert code == Exit.PARTLY
    assert out.startswith(f"{HEAD} against {EDITION}: inconclusive\n")


def test_chosen_runs_alone_are_compared_and_may_be_too_few(call):
    code, out, _ = call(HEAD, EDITION, "--runs", "7:2-3")
    assert code == Exit.PARTLY
    assert "2 runs of both: 7:2-3" in out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("seven/skims/man", EDITION), Exit.USAGE, "there is no dataset seven/skims/man; "),
        ((HEAD, "seven/skims/many:2"), Exit.USAGE, "there is no edition seven/skims/many:2"),
        ((HEAD, "seven/skims"), Exit.USAGE, "seven/skims is a step; write CAMPAIGN/STEP/OUTPUT"),
        ((HEAD, EDITION, "--runs", "7:9"), Exit.USAGE, "A and B have no run of 7:9 in common: "),
        ((HEAD, EDITION, "--runs", "seven"), Exit.USAGE, "seven"),
        (
            (HEAD, EDITION, "--by", "tree"),
            Exit.USAGE,
            "there is no validation tree (did you mean three?); there are: three",
        ),
    ],
)
def test_slips_are_told_with_what_to_write_instead(call, words, code, text):
    ended, out, err = call(*words)
    assert (ended, out) == (code, "")
    assert text in err


def test_the_pinned_criteria_count_whatever_the_checkout_says(made, call):
    strict = CRITERIA.replace("min_runs: 3", "min_runs: 4")
    made.write("productions/validations/three.yaml", strict)
    made.write("productions/validations/two.yaml", CRITERIA)
    assert call(HEAD, EDITION)[0] == Exit.FINE
    pin_checkout(made.root, State(made.state))
    code, out, err = call(HEAD, EDITION)
    assert (code, out) == (Exit.USAGE, "")
    assert "there are several criteria; choose one: --by three | two" in err
    assert call(HEAD, EDITION, "--by", "three")[0] == Exit.PARTLY
    assert call(HEAD, EDITION, "--by", "two")[0] == Exit.FINE


def unpin(made):
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(delete(trust_roots))


def test_where_no_root_is_pinned_those_of_the_checkout_count_and_this_is_told(made, call):
    assert call(HEAD, EDITION)[2] == ""
    unpin(made)
    code, _, err = call(HEAD, EDITION)
    assert code == Exit.FINE
    assert "no trust root is pinned here: these are the criteria of the checkout" in err


@pytest.mark.parametrize(
    ("pinned", "told"),
    [(True, "does not come from 0000000000000000"), (False, "no trust root is pinned here: look")],
)
def test_where_the_site_names_a_root_nothing_else_counts(made, call, monkeypatch, pinned, told):
    made.write("productions/validations/three.yaml", LAX)
    monkeypatch.setenv("B2PROD_TRUST", "0" * 64)
    if not pinned:
        unpin(made)
    code, out, err = call(HEAD, EDITION)
    assert (code, out) == (Exit.REFUSED, "")
    assert told in err
    assert "criteria of the checkout" not in err


def test_where_the_site_names_a_root_a_state_that_is_not_there_is_refused_too(made, call, monkeypatch):
    monkeypatch.setenv("B2PROD_TRUST", "0" * 64)
    shutil.rmtree(made.state)
    code, out, err = call(HEAD, EDITION)
    assert (code, out) == (Exit.REFUSED, "")
    assert "criteria of the checkout" not in err


@pytest.mark.parametrize("pinned", [True, False])
def test_criteria_that_cannot_be_read_do_not_make_others_the_only_ones(made, call, pinned):
    made.write("productions/validations/two.yaml", CRITERIA.replace("min_runs: 3", "min_runs: 0"))
    pin_checkout(made.root, State(made.state))
    if not pinned:
        unpin(made)
    code, out, err = call(HEAD, EDITION)
    assert (code, out) == (Exit.USAGE, "")
    assert "there are several criteria; choose one: --by three | two; not to be read: two" in err
    assert call(HEAD, EDITION, "--by", "three")[0] == Exit.FINE
    code, out, err = call(HEAD, EDITION, "--by", "two")
    assert (code, out) == (Exit.USAGE, "")
    where = "the pinned trust root" if pinned else "productions/validations"
    assert f"the criteria two in {where} cannot be read; repair " in err


def test_who_signs_a_root_sees_each_changed_criterion():
    file = "productions/validations/three.yaml"
    told = describe_changes(
        {file: CRITERIA.encode()}, {file: CRITERIA.replace("fail: 0.3", "fail: 30").encode()}
    )
    assert told == [file, "  checks.run_retention.fail: 0.3 → 30"]


def test_what_is_kept_is_shown_again_whatever_has_changed_since(made, call):
    digest = hashlib.sha256(call(HEAD, EDITION, "--json")[1].rstrip("\n").encode()).hexdigest()
    code, _, err = call(digest)
    assert (code, err) == (
        Exit.USAGE,
        f"b2prod: no comparison {digest} was kept here; `b2prod compare A B --keep` keeps one\n",
    )
    _, text, err = call(HEAD, EDITION, "--keep")
    assert err == f"{digest} is kept: `b2prod compare {digest}` shows it again\n"
    assert f"{digest} is kept already" in call(HEAD, EDITION, "--keep")[2]
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(update(outputs).values(events_read=None))
    assert call(digest)[:2] == (Exit.FINE, text)
    assert call(HEAD, EDITION)[0] == Exit.PARTLY


def test_what_is_kept_is_made_again_from_the_journal(made, call):
    _, text, err = call(HEAD, EDITION, "--keep")
    digest = err.split()[0]
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(delete(comparisons))
        rebuild(connection, list(read_journal(connection)))
    assert call(digest)[:2] == (Exit.FINE, text)


def test_a_kept_comparison_that_was_changed_is_refused(made, call):
    digest = call(HEAD, EDITION, "--keep")[2].split()[0]
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(update(comparisons).values(content=zlib.compress(b"{}")))
    code, out, err = call(digest)
    assert (code, out) == (Exit.UNAVAILABLE, "")
    assert f"the content of the comparison {digest} is not what was kept" in err


def test_one_name_alone_is_a_slip(call):
    code, _, err = call(HEAD)
    assert code == Exit.USAGE
    assert f"name the reference too: `b2prod compare {HEAD} B`" in err
