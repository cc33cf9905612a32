"""Retention rates: intervals, what counts of a campaign in each state, and how a rate is written."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sqlalchemy import create_engine, select, update

from ci.cli.exits import Exit
from ci.cli.quantities import format_rate
from reconciler.ledger.reading.heads import Head
from reconciler.ledger.schema.tables import outputs
from reconciler.planning.retention import ONE_SIGMA, bound_rates, measure_retention
from tests.support.worlds.skimmed import EVENTS, RUNS, Skimmed

pairs = st.integers(0, 400).flatmap(lambda read: st.tuples(st.integers(0, read), st.just(read)))


def bound(kept, read, confidence=ONE_SIGMA):
    ends = bound_rates(np.array([kept]), np.array([read]), confidence)
    return tuple(float(end[0]) for end in ends)


# -- intervals


@given(pairs, st.floats(0.5, 0.999))
def test_intervals_are_those_of_the_exact_binomial_test(pair, confidence):
    kept, read = pair
    if read == 0:
        assert all(map(math.isnan, bound(kept, read, confidence)))
        return
    expected = stats.binomtest(kept, read).proportion_ci(confidence, method="exact")
    assert bound(kept, read, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("read", [1, 2, 17, 102])
@pytest.mark.parametrize("confidence", [ONE_SIGMA, 0.95])
def test_an_interval_covers_the_true_rate_at_least_as_often_as_it_says(read, confidence):
    kept = np.arange(read + 1)
    low, high = bound_rates(kept, np.full(read + 1, read), confidence)
    for rate in np.linspace(0.001, 0.999, 199):
        covered = (low <= rate) & (rate <= high)
        assert stats.binom.pmf(kept[covered], read, rate).sum() >= confidence - 1e-9


def test_where_nothing_was_kept_the_rate_may_be_larger_all_the_same():
    share = (1 - ONE_SIGMA) / 2
    assert bound(0, 102) == (0.0, pytest.approx(1 - share ** (1 / 102)))
    assert bound(102, 102) == (pytest.approx(share ** (1 / 102)), 1.0)
    assert bound(0, 102, 0.9) == (0.0, pytest.approx(1 - 0.05 ** (1 / 102)))
    assert bound(1, 1) == (pytest.approx(share), 1.0)


@given(pairs)
def test_the_rate_lies_in_its_interval_and_what_was_lost_has_the_contrary_one(pair):
    kept, read = pair
    if read:
        low, high = bound(kept, read)
        assert 0 <= low <= kept / read <= high <= 1
        assert (low < high) or math.isclose(low, high)
        assert bound(read - kept, read) == pytest.approx((1 - high, 1 - low))


def test_where_there_is_no_rate_there_is_no_interval():
    for kept, read in ((0, 0), (3, 0), (5, 4)):
        assert all(map(math.isnan, bound(kept, read)))


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_million_events_are_as_exact_as_ten(kept, more):
    low, high = bound(kept, kept + more)
    width = math.sqrt(kept * more / (kept + more) ** 3)
    assert 0 < high - low < 2 * width + 2 / (kept + more)


# -- how it is written


@pytest.mark.parametrize(
    ("kept", "read", "text"),
    [
        (0, 102, "0.0 +1.8 −0.0"),
        (102, 102, "100.0 +0.0 −1.8"),
        (1, 3, "33 +41 −28"),
        (25, 100, "25.0 +5.1 −4.5"),
        (10_934, 16_000, "68.34 +0.37 −0.37"),
        (12, 1_000_000, "0.00120 +0.00046 −0.00034"),
        (1, 10**9, "0.000000100 +0.000000230 −0.000000083"),
        (0, 10**9, "0.00000000 +0.00000018 −0.00000000"),
    ],
)
def test_a_rate_is_written_to_the_digits_that_its_interval_warrants(kept, read, text):
    assert format_rate(kept / read, *bound(kept, read)) == text


def test_an_unknown_rate_is_a_dash():
    assert format_rate(None, None, None) == "–"


# -- sums


def head(output, run, read, kept, step="skims"):
    return Head(step, output, run, bytes([run]), 1, read, kept, number=run)


def test_sums_are_by_output_and_runs_without_counts_are_told():
    heads = [
        head("b", 2, 10, 5),
        head("a", 1, 10, 0),
        head("b", 1, 10, 1),
        head("b", 3, None, 7),
        head("a", 2, 0, 0),
        head("c", 1, 4, 5),
        head("former", 1, None, None, "before"),
    ]
    places = [("skims", "b"), ("skims", "a"), ("skims", "c")]
    found = measure_retention(heads, places)
    assert [
        (one.output, one.run, one.runs, one.uncounted, one.read, one.kept, one.rate) for one in found
    ] == [
        ("b", None, 2, 1, 20, 6, 0.3),
        ("a", None, 2, 0, 10, 0, 0.0),
        ("c", None, 1, 0, 4, 5, None),
        ("former", None, 0, 1, None, None, None),
    ]
    found = measure_retention(heads, places, by_run=True, confidence=0.9)
    assert [(one.output, one.run, one.read, one.kept) for one in found] == [
        ("b", 1, 10, 1),
        ("b", 2, 10, 5),
        ("b", 3, None, None),
        ("a", 1, 10, 0),
        ("a", 2, 0, 0),
        ("c", 1, 4, 5),
        ("former", 1, None, None),
    ]
    assert [one.rate for one in found] == [0.1, 0.5, None, 0.0, None, None, None]
    assert (found[0].low, found[0].high) == bound(1, 10, 0.9)
    assert measure_retention([], places) == []


# -- campaigns in each state


@pytest.fixture(scope="module")
def produced(tmp_path_factory):
    """Three runs of which every fourth, two of five and three of six events have three tracks or more."""
    return Skimmed(tmp_path_factory.mktemp("skimmed"))


@pytest.fixture
def skimmed(produced, tmp_path):
    """A copy that a test may change."""
    copied = object.__new__(Skimmed)
    copied.root = tmp_path / "copy"
    shutil.copytree(produced.root, copied.root)
    return copied


def ask(skimmed, capsys, *options, expected=Exit.FINE, name="seven"):
    capsys.readouterr()
    assert skimmed.b2prod("retention", name, "--json", *options) == expected
    told = capsys.readouterr()
    return json.loads(told.out) if expected == Exit.FINE else told.err


KEPT = [sum(number % (run + 3) >= 3 for number in range(EVENTS)) for run in range(1, RUNS + 1)]


@pytest.mark.slow
def test_rates_by_skim_and_by_run(skimmed, capsys):
    (total,) = ask(skimmed, capsys)
    low, high = bound(sum(KEPT), RUNS * EVENTS)
    assert total == {
        "step": "skims",
        "output": "many",
        "runs": 3,
        "uncounted": 0,
        "read": 300,
        "kept": sum(KEPT),
        "rate": sum(KEPT) / 300,
        "low": low,
        "high": high,
        "confidence": ONE_SIGMA,
    }
    rows = ask(skimmed, capsys, "--by-run", "--confidence", "0.95")
    assert [(row["run"], row["read"], row["kept"]) for row in rows] == [
        (f"7:{run}", EVENTS, kept) for run, kept in enumerate(KEPT, 1)
    ]
    assert [(row["low"], row["high"]) for row in rows] == [bound(kept, EVENTS, 0.95) for kept in KEPT]
    assert skimmed.b2prod("retention", "seven", "--by-run") == Exit.FINE
    shown = capsys.readouterr().out
    assert "7:1" in shown
    assert "25.0 +5.1 −4.5" in shown


@pytest.mark.parametrize("wrong", ["0", "1", "nan", "-1", "68"])
def test_a_confidence_is_a_probability(skimmed, capsys, wrong):
    assert skimmed.b2prod("retention", "seven", "--confidence", wrong) == Exit.USAGE


def stop(skimmed):
    manifest = skimmed.root / "productions/campaigns/seven/campaign.yaml"
    manifest.write_text(manifest.read_text().replace("kind:", "state: stopped\nkind:"))


def hold(skimmed):
    manifest = skimmed.root / "productions/campaigns/seven/campaign.yaml"
    manifest.write_text(manifest.read_text().replace("kind:", "state: held\nkind:"))
    assert skimmed.b2prod("resolve", "seven") == Exit.FINE


def archive(skimmed):
    stop(skimmed)
    productions = skimmed.root / "productions"
    (productions / "archive").mkdir()
    (productions / "campaigns/seven").rename(productions / "archive/seven")


def forget(skimmed):
    shutil.rmtree(skimmed.root / "productions/campaigns/seven")


@pytest.mark.parametrize("move", [hold, stop, archive, forget])
def test_a_campaign_in_any_state_has_its_rates(skimmed, capsys, move):
    before = ask(skimmed, capsys, "--by-run")
    move(skimmed)
    assert ask(skimmed, capsys, "--by-run") == before


def test_an_archived_campaign_keeps_its_rates_when_what_it_was_made_from_moves(skimmed, capsys):
    before = ask(skimmed, capsys)
    archive(skimmed)
    menu = skimmed.root / "productions/skims/menu.yaml"
    menu.write_text(menu.read_text().replace(">= 3", ">= 4"))
    (skimmed.root / "productions/archive/seven/campaign.lock").unlink()
    assert skimmed.b2prod("runs", "remove", "7:1", "--reason", "bad") == Exit.FINE
    assert ask(skimmed, capsys) == before


@pytest.mark.slow
def test_of_a_live_campaign_counts_what_is_made_as_it_is_declared_now(skimmed, capsys):
    menu = skimmed.root / "productions/skims/menu.yaml"
    menu.write_text(menu.read_text().replace(">= 3", ">= 4"))
    assert skimmed.b2prod("resolve", "seven") == Exit.FINE
    capsys.readouterr()
    assert skimmed.b2prod("retention", "seven") == Exit.FINE
    assert "skims/many: 3 runs of 3 not produced" in capsys.readouterr().err
    assert skimmed.b2prod("reconcile", "--once") == Exit.FINE
    (total,) = ask(skimmed, capsys)
    assert total["kept"] == sum(number % (run + 3) >= 4 for run in (1, 2, 3) for number in range(EVENTS))
    stop(skimmed)
    assert ask(skimmed, capsys) == [total], "of the two versions the newest"


def test_counts_that_make_no_rate_are_told(skimmed, capsys):
    engine = create_engine(f"sqlite:///{skimmed.root}/.b2prod/b2prod.sqlite")
    with engine.begin() as connection:
        connection.execute(update(outputs).where(outputs.c.run == 1).values(events_read=0, events=0))
        connection.execute(update(outputs).where(outputs.c.run == 2).values(events_read=None))
        connection.execute(update(outputs).where(outputs.c.run == 3).values(events=101))
        assert len(connection.execute(select(outputs.c.id)).all()) == 3
    stop(skimmed)
    rows = ask(skimmed, capsys, "--by-run")
    assert [(row["run"], row["rate"], row["low"], row["read"]) for row in rows] == [
        ("7:1", None, None, 0),
        ("7:2", None, None, None),
        ("7:3", None, None, EVENTS),
    ]
    assert skimmed.b2prod("retention", "seven", "--by-run") == Exit.FINE
    told = capsys.readouterr()
    assert "not counted" in told.out
    assert "skims/many: 1 run left out, since their events were not counted" in told.err
    assert "skims/many of 7:3: no rate, since more events were kept than read" in told.err


def test_a_name_that_is_no_campaign_is_told(skimmed, capsys):
    assert "there is no campaign eight; there are: seven" in ask(
        skimmed, capsys, expected=Exit.USAGE, name="eight"
    )


def test_a_manifest_that_cannot_be_read_is_not_taken_for_a_campaign_that_is_gone(skimmed, capsys):
    (skimmed.root / "productions/campaigns/seven/campaign.yaml").write_text("schema: [")
    assert skimmed.b2prod("retention", "seven") == Exit.FINE
    told = capsys.readouterr()
    assert "not all that is declared can be read" in told.err
    assert "skims" in told.out
