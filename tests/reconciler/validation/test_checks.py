"""The checks of a comparison, one by one: what each concludes, and what it shows."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import pytest

from ci.reports.comparison import format_comparison, format_comparison_markdown
from reconciler.run_catalogue.luminosity import Measurement
from reconciler.validation.comparison import compare_productions
from reconciler.validation.histogram_contents import HistogramPairs
from reconciler.validation.production_facts import ProductionFacts, RunFacts
from reconciler.validation.results import ValidationVerdict, find_worst
from schemas.json_schema.values import read_value
from schemas.manifest.runs import run_key
from schemas.policy.validation import Checks, Validation

RUN = RunFacts(bytes=5_000_000, events=1000, read=1000, cpu_seconds=2000.0)
KEYS = [run_key(3, number) for number in range(1, 13)]

SHIFT = {"level": 0.001, "warn": 0.02, "fail": 0.1, "min_runs": 10, "min_events": 100}
CHANGE = {"warn": 0.02, "fail": 0.1, "min_runs": 10}


def facts(name="proc8/reco/mdst", skims=None, keys=KEYS, changed=None, **values):
    """A production of these runs; `changed` are the values of the first run, `values` those of all."""
    runs = {key: replace(RUN, **values) for key in keys}
    if changed is not None:
        runs[keys[0]] = replace(runs[keys[0]], **changed)
    if skims is None:
        skims = {"hadron": [(40_000, 100_000)] * len(keys)}
    counts = {
        skim if isinstance(skim, tuple) else ("skims", skim): dict(zip(keys, pairs, strict=False))
        for skim, pairs in skims.items()
    }
    return ProductionFacts(name, "0" * 64, runs, counts, keeps_all=True)


def compare(one, other=None, measured=None, **checks):
    validation = Validation("strict", "A title", read_value(Checks, checks), checks)
    return compare_productions(
        one, facts("proc7/reco/mdst") if other is None else other, validation, measured or {}
    )


def check(name, criterion, one, other=None, measured=None):
    (result,) = compare(one, other, measured, **{name: criterion}).results
    assert result.check == name
    return result


@pytest.mark.parametrize(
    ("changed", "verdict", "rows"),
    [
        ({}, "pass", 0),
        ({"events": 999}, "fail", 1),
        ({"read": 1001}, "fail", 1),
        ({"events": 999, "read": 999}, "fail", 2),
        ({"events": None}, "inconclusive", 0),
        ({"read": None}, "pass", 0),
    ],
)
def test_any_difference_of_events_fails(changed, verdict, rows):
    result = check("events", {"min_runs": 1}, facts(changed=changed))
    assert (result.verdict, len(result.rows)) == (verdict, rows)
    assert all(row["run"] == "3:1" for row in result.rows)


def test_runs_that_differ_are_told_of_all_runs_also_where_some_numbers_are_not_known():
    result = check("events", {"min_runs": 1}, facts(events=None, read=1001))
    assert result.verdict == "fail"
    expected = (
        "of 12 of 12 runs the numbers of events differ; of 12 those in the dataset are not known on both sides; "
        "error-flagged events are not known"
    )
    assert result.reason == expected


def test_of_a_skim_the_events_that_were_read_must_be_equal_and_not_those_that_were_kept():
    one, other = (replace(facts(changed={"events": kept}), keeps_all=False) for kept in (999, 1000))
    assert check("events", {"min_runs": 1}, one, other).verdict == "pass"
    unread = replace(facts(changed={"read": None}), keeps_all=False)
    assert check("events", {"min_runs": 1}, unread, other).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("flagged", "verdict", "words"),
    [
        ({}, "pass", "; error-flagged events are not known"),
        (dict.fromkeys(KEYS, (0, 0)), "pass", "; error-flagged are 0 here and 0 there"),
        (dict.fromkeys(KEYS, (3, 3)), "pass", "; error-flagged are 36 here and 36 there"),
        (
            {KEYS[0]: (3, 0), KEYS[1]: (0, 0)},
            "warn",
            "; error-flagged are 3 here and 0 there; of 10 runs error-flagged events are not known",
        ),
    ],
)
def test_error_flagged_events_are_told_and_a_difference_warns(flagged, verdict, words):
    one, other = facts(), facts("proc7/reco/mdst")
    criteria = {"events": {"min_runs": 1}}
    validation = Validation("strict", "A title", read_value(Checks, criteria), criteria)
    found = compare_productions(one, other, validation, {}, HistogramPairs((), {}, ("", ""), flagged))
    (result,) = found.results
    assert result.verdict == verdict
    assert result.reason == f"of 0 of 12 runs the numbers of events differ{words}"
    warned = {"run": "3:1", "events": "error-flagged", "read": 1000, "number": 3, "against": 0}
    assert result.rows == (({**warned, "verdict": "warn"},) if verdict == "warn" else ())
    assert ("error-flagged" in format_comparison(json.loads(found.content), "")) is True
    lost = facts(changed={"events": 999})
    worse = compare_productions(lost, other, validation, {}, HistogramPairs((), {}, ("", ""), flagged))
    assert worse.verdict == "fail"


def test_too_few_runs_are_inconclusive_in_every_check_and_never_pass():
    few = KEYS[:9]
    checks = {"events": {"min_runs": 10}, "event_size": CHANGE, "cpu_time": CHANGE, "luminosity": CHANGE}
    checks |= {"retention": SHIFT, "run_retention": SHIFT, "stability": SHIFT}
    measured = {
        ("bhabha", name, ""): {key: Measurement(key, 5.0) for key in few} for name in ("proc7", "proc8")
    }
    found = compare(facts(keys=few), measured=measured, **checks)
    assert {result.verdict for result in found.results} == {ValidationVerdict.INCONCLUSIVE}
    assert len(found.results) == len(checks)
    assert found.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [(40_000, "pass"), (39_600, "pass"), (38_800, "warn"), (35_000, "fail"), (45_000, "fail"), (0, "fail")],
)
def test_retention_fails_where_the_change_is_significant_and_large(kept, verdict):
    result = check("retention", SHIFT, facts(skims={"hadron": [(kept, 100_000)] * 12}))
    assert result.verdict == verdict
    (row,) = result.rows
    assert row["change"] == pytest.approx(kept / 40_000 - 1)
    assert row["low"] <= row["change"] <= row["high"]
    assert (row["pairing"], row["runs"], row["against"]["kept"]) == ("unpaired", 12, 480_000)


def test_a_skim_in_which_a_change_that_fails_could_be_hidden_is_inconclusive():
    one, other = (facts(skims={"rare": [(kept, 1000)] * 12}) for kept in (10, 11))
    result = check("retention", SHIFT, one, other)
    assert result.verdict == "inconclusive"
    assert result.rows[0]["p"] > 0.1
    assert check("retention", {**SHIFT, "min_events": 1}, one, other).verdict == "inconclusive"


def test_a_skim_that_the_reference_lacked_is_no_matter_and_one_that_is_gone_is():
    new = facts(skims={"hadron": [(40_000, 100_000)] * 12, "new": [(5, 10)] * 12})
    assert check("retention", SHIFT, new).verdict == "pass"
    result = check("retention", SHIFT, facts("proc7/reco/mdst"), new)
    assert result.verdict == "inconclusive"
    assert "not counted on both sides: new" in result.reason


def test_a_skim_is_found_again_by_its_step_or_as_the_only_output_with_its_name():
    rates, others = [(40_000, 100_000)] * 12, [(20_000, 100_000)] * 12
    lone = facts(skims={("skims", "hadron"): rates})
    two = facts(skims={("again", "hadron"): others, ("skims", "hadron"): rates})
    moved = facts(skims={("thin", "hadron"): rates})
    for one, other in ((lone, lone), (two, lone), (moved, lone), (two, two)):
        assert check("retention", SHIFT, one, other).verdict == "pass"
    names = [row["skim"] for row in check("retention", SHIFT, two, two).rows]
    assert names == ["again/hadron", "skims/hadron"]
    result = check("retention", SHIFT, lone, two)
    assert result.verdict == "inconclusive"
    assert "not counted on both sides: again/hadron in 12 runs" in result.reason
    assert (
        check("retention", SHIFT, two, moved).verdict == "inconclusive"
    )  # which of the two it is, is not known


def test_a_skim_that_kept_nothing_before_has_no_finite_change():
    found = compare(facts(), facts(skims={"hadron": [(0, 100_000)] * 12}), retention=SHIFT)
    (result,) = found.results
    assert result.verdict == "fail"
    assert result.rows[0]["change"] is None
    json.dumps(result.describe(), allow_nan=False)
    told = format_comparison(json.loads(found.content), found.digest)
    assert told.count("∞") == 1
    assert told.count("not finite") == 2


RATES = ("retention", "run_retention", "stability")
MANY = [run_key(3, number) for number in range(1, 1001)]
GOOD = [(30_000, 100_000)] * len(MANY)


def compare_rates(here, there):
    """The checks of rates of two productions with these counts, run by run; None is not counted."""
    sides = []
    for name, counts in (("proc8/reco/mdst", here), ("proc7/reco/mdst", there)):
        skims = {
            ("skims", "hadron"): {run: one for run, one in zip(MANY, counts, strict=True) if one is not None}
        }
        sides.append(replace(facts(name, keys=MANY), skims=skims))
    return compare(*sides, **dict.fromkeys(RATES, SHIFT))


def test_rates_of_which_almost_nothing_was_counted_do_not_pass():
    for result in compare_rates(GOOD[:10] + [None] * 990, GOOD).results:
        assert result.verdict == "inconclusive", result
        assert "not counted on both sides: hadron in 990 runs" in result.reason
    for result in compare_rates([*GOOD[:999], None], GOOD).results:
        assert result.verdict == "inconclusive", result
        assert "not counted on both sides: hadron in 1 run" in result.reason
    assert compare_rates(GOOD, GOOD).verdict == "pass"


def test_runs_that_only_the_reference_lacks_let_no_check_pass_either():
    for result in compare_rates(GOOD, GOOD[:10] + [None] * 990).results:
        assert result.verdict == "inconclusive", result
        assert "not in the reference: hadron in 990 runs" in result.reason


@pytest.mark.parametrize("counts", [(5, 4), (1, 0), (0, 0)])
def test_counts_that_cannot_be_fail_on_either_side(counts):
    spoilt = [*GOOD[:7], counts, *GOOD[8:]]
    for found in (compare_rates(spoilt, GOOD), compare_rates(GOOD, spoilt)):
        told = format_comparison(json.loads(found.content), found.digest)
        assert len(re.findall(r"^  hadron .*\b3:8 ", told, re.MULTILINE)) == 3
        for result in found.results:
            assert result.verdict == "fail", result
            assert "more kept than read, or read on one side alone: hadron in 1 run" in result.reason
            assert result.rows[0]["run"] == "3:8"
            assert "change" not in result.rows[0]


def test_a_run_of_which_neither_side_read_an_event_is_equal():
    assert compare_rates([(0, 0), *GOOD[1:]], [(0, 0), *GOOD[1:]]).verdict == "pass"
    for result in compare_rates([(0, 0)] * 1000, [(0, 0)] * 1000).results:
        assert result.verdict == "inconclusive"
        assert "; without any event that was read: hadron" in result.reason


def test_one_run_is_found_among_many_by_both_checks_of_runs():
    one = facts(skims={"hadron": [(30_000, 100_000)] + [(40_000, 100_000)] * 11})
    for name in ("run_retention", "stability"):
        result = check(name, SHIFT, one)
        assert result.verdict == "fail"
        (row,) = result.rows
        assert (row["skim"], row["run"], row["change"]) == ("hadron", "3:1", pytest.approx(-0.25))


def test_what_moves_all_runs_is_told_by_retention_and_lets_no_run_stand_out():
    one = facts(skims={"hadron": [(30_000, 100_000)] * 12})
    assert check("retention", SHIFT, one).verdict == "fail"
    assert len(check("run_retention", SHIFT, one).rows) == 12
    result = check("stability", SHIFT, one)
    assert (result.verdict, result.rows) == ("pass", ())


def test_a_significant_change_that_is_small_is_no_finding():
    result = check("run_retention", SHIFT, facts(skims={"hadron": [(39_300, 100_000)] * 12}))
    assert (result.verdict, result.rows) == ("pass", ())


@pytest.mark.parametrize(
    ("name", "values", "verdict"),
    [
        ("event_size", {}, "pass"),
        ("event_size", {"bytes": 5_250_000}, "warn"),
        ("event_size", {"bytes": 4_000_000}, "fail"),
        ("event_size", {"events": None}, "inconclusive"),
        ("cpu_time", {}, "pass"),
        ("cpu_time", {"cpu_seconds": 2100.0}, "warn"),
        ("cpu_time", {"cpu_seconds": 4000.0}, "fail"),
        ("cpu_time", {"cpu_seconds": None}, "inconclusive"),
    ],
)
def test_medians_of_ratios_are_held_against_the_limits(name, values, verdict):
    assert check(name, CHANGE, facts(**values)).verdict == verdict


def test_a_run_that_is_far_off_does_not_move_a_median():
    assert check("event_size", CHANGE, facts(changed={"bytes": 50_000_000})).verdict == "pass"


@pytest.mark.parametrize(("value", "verdict"), [(5.0, "pass"), (5.2, "warn"), (4.0, "fail")])
def test_luminosity_is_compared_method_by_method_over_the_runs_of_both(value, verdict):
    measured = {
        ("bhabha", "proc8", ""): {key: Measurement(key, value) for key in KEYS},
        ("bhabha", "proc7", ""): {key: Measurement(key, 5.0) for key in KEYS[1:]},
        ("gamma_gamma", "proc7", ""): {key: Measurement(key, 5.0) for key in KEYS},
    }
    result = check("luminosity", CHANGE, facts(), measured=measured)
    assert result.verdict == verdict
    (row,) = result.rows
    assert (row["runs"], row["change"]) == (11, pytest.approx(value / 5 - 1))
    assert "only on one side, or 0 there: gamma_gamma" in result.reason


def test_a_luminosity_that_nobody_imported_is_inconclusive():
    assert check("luminosity", CHANGE, facts()).verdict == "inconclusive"


def test_the_verdict_of_a_comparison_is_the_worst_one():
    fail, inconclusive, warn, passed = ValidationVerdict
    assert find_worst([passed, warn]) == warn
    assert find_worst([passed, warn, inconclusive]) == inconclusive
    assert find_worst([inconclusive, fail, passed]) == fail
    assert find_worst([]) == inconclusive


def test_the_same_facts_and_criteria_give_the_same_bytes_and_others_do_not():
    one = compare(facts(), retention=SHIFT)
    assert compare(facts(), retention=SHIFT).content == one.content
    assert json.loads(one.content)["verdict"] == "pass"
    for other in (
        compare(facts(changed={"cpu_seconds": 1.0}), retention=SHIFT),
        compare(facts(), retention={**SHIFT, "level": 0.002}),
        compare(facts("proc8/reco/mdst:1"), retention=SHIFT),
    ):
        assert other.digest != one.digest


def test_runs_of_one_side_alone_are_told_and_not_compared():
    found = compare(facts(keys=KEYS[:-1]), facts("proc7/reco/mdst", keys=KEYS[1:]), events={"min_runs": 1})
    told = found.describe()
    assert told["runs"] == "3:2-11"
    assert (told["compared"]["alone"], told["against"]["alone"]) == ("3:1", "3:12")


def test_every_row_of_every_check_can_be_shown():
    skims = {"hadron": [(30_000, 100_000)] + [(40_000, 100_000)] * 11, "gone": [(9, 10)]}
    one = facts(skims=skims, changed={"events": 999}, bytes=9_000_000)
    measured = {("bhabha", name, "phi"): {KEYS[0]: Measurement(KEYS[0], 5.0)} for name in ("proc7", "proc8")}
    checks = {"events": {"min_runs": 1}, "event_size": CHANGE, "cpu_time": CHANGE, "luminosity": CHANGE}
    checks |= {"retention": SHIFT, "run_retention": SHIFT, "stability": SHIFT}
    found = compare(one, measured=measured, **checks)
    assert all(result.rows for result in found.results)
    told = json.loads(found.content)
    texts = (format_comparison(told, found.digest), format_comparison_markdown(told, found.digest))
    # as text, the columns of two tables do not fit a line, and go on below with the name again
    for text, names in zip(map(html.unescape, texts), (5, 3), strict=True):
        assert text.count("hadron") == names
        for words in ("3:1", "bhabha", "inconclusive", "-25 %", "+80 %", found.digest, "A title"):
            assert words in text
