"""What the retention wants of each output: over random chains, the newest validated data stay, and what is not known is not old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.planning.retained.chains import find_later_campaigns, find_successors
from reconciler.planning.retained.decisions import RetainedDataset, RetainedOutput, decide
from schemas.files.times import format_time
from schemas.manifest.dataset import DatasetName
from schemas.policy.retention import RetentionRule

NOW = datetime(2019, 6, 1, tzinfo=UTC)
LONG_AGO, YESTERDAY = format_time(NOW - timedelta(days=100)), format_time(NOW - timedelta(days=1))
LAST_TWO = RetentionRule("kekcc", disk=2, tape="all", versions=1)
CHAIN = {"proc7": ["prod6"], "proc8": ["proc7"], "proc9": ["proc8"]}


def name(campaign: str, step: str = "reco", output: str = "mdst") -> DatasetName:
    return DatasetName(campaign, step, output)


def output(number: int, run: int, version: int = 1, **more) -> RetainedOutput:
    more.setdefault("produced", LONG_AGO)
    return RetainedOutput(number, run, version, bytes([number]), **more)


def dataset(campaign: str, *outputs: RetainedOutput, since: str | None = LONG_AGO, **more) -> RetainedDataset:
    """A dataset, validated for all its outputs since a time; not at all with None."""
    validated = {}
    for one in outputs if since is not None else ():
        validated.setdefault(one.run, {})[one.fingerprint] = since
    more.setdefault("rule", LAST_TWO)
    return RetainedDataset(name(campaign), outputs=outputs, **{"validated": validated, **more})


def away(*datasets: RetainedDataset, supersedes=CHAIN) -> dict[str, list[int]]:
    """Campaign → the runs that leave the disk."""
    successors = find_successors([one.name for one in datasets], supersedes)
    return {
        one.name.campaign: sorted({each.output.run for each in wanted if not each.disk})
        for one, wanted in decide(datasets, successors, NOW)
    }


def test_the_last_two_validated_stay_on_disk_run_by_run():
    prod6 = dataset("prod6", output(1, 1), output(2, 2))
    proc7 = dataset("proc7", output(3, 1), output(4, 2))
    proc8 = dataset("proc8", output(5, 1))  # half made: it lacks run 2
    assert away(prod6, proc7, proc8) == {"prod6": [1], "proc7": [], "proc8": []}


@pytest.mark.parametrize("since", [None, YESTERDAY, "", "soon"])
def test_a_successor_counts_only_once_validated_for_long_enough(since):
    prod6, proc7 = dataset("prod6", output(1, 1)), dataset("proc7", output(2, 1))
    assert away(prod6, proc7, dataset("proc8", output(3, 1), since=since))["prod6"] == []
    assert away(prod6, proc7, dataset("proc8", output(3, 1)))["prod6"] == [1]


def test_a_successor_that_is_not_on_disk_or_was_made_again_unvalidated_does_not_count():
    prod6, proc7, made = dataset("prod6", output(1, 1)), dataset("proc7", output(2, 1)), output(3, 1)
    gone = dataset("proc8", replace(made, on_disk=False))
    assert away(prod6, proc7, gone)["prod6"] == []
    again = dataset("proc8", replace(made, fingerprint=b"other"), validated={1: {made.fingerprint: LONG_AGO}})
    assert away(prod6, proc7, again)["prod6"] == []


def test_nothing_leaves_the_disk_without_tape():
    rule = replace(LAST_TWO, disk=1, tape="none")
    assert away(dataset("prod6", output(1, 1), rule=rule), dataset("proc7", output(2, 1)))["prod6"] == []


def wanted_versions(*outputs: RetainedOutput, **more) -> list[int]:
    """The versions that go."""
    [(_, wanted)] = decide([dataset("proc7", *outputs, **more)], {}, NOW)
    return [one.output.version for one in wanted if not one.kept]


def test_old_versions_go_when_enough_newer_ones_are_old_enough():
    three = [output(one, 1, one) for one in (1, 2, 3)]
    assert wanted_versions(*three) == [1, 2]
    assert wanted_versions(*three, rule=replace(LAST_TWO, versions=2)) == [1]
    assert wanted_versions(*three, rule=replace(LAST_TWO, versions=None)) == []
    for produced in (YESTERDAY, None):
        assert wanted_versions(*three[:2], replace(three[2], produced=produced)) == [1]
    assert wanted_versions(*three[:2], replace(three[2], on_disk=False)) == []
    assert wanted_versions(*three, declared=frozenset({b"\1"})) == [2]


def test_a_validated_version_stays_until_a_newer_one_is_validated():
    one, two = output(1, 1, 1), output(2, 1, 2)
    assert wanted_versions(one, two, validated={1: {one.fingerprint: LONG_AGO}}) == []
    both = {1: {one.fingerprint: LONG_AGO, two.fingerprint: LONG_AGO}}
    assert wanted_versions(one, two, validated=both) == [1]


def test_successors_have_the_same_step_or_are_the_only_ones():
    mdst = [name("proc7"), name("proc8", "mdst"), name("proc8", "skims", "hlt_hadron")]
    assert find_successors(mdst, CHAIN)[mdst[0]] == (mdst[1],)
    several = [*mdst, name("proc8", "other")]
    assert find_successors(several, CHAIN)[mdst[0]] == ()


NAMES = st.sampled_from("abcdef")
GRAPHS = st.dictionaries(NAMES, st.sets(NAMES, max_size=3))


@given(GRAPHS)
def test_circles_end_and_keep_everything(graph):
    later = find_later_campaigns(graph)
    for campaign, newer in later.items():
        reached, pending = set(), [campaign]
        while pending:
            here = pending.pop()
            fresh = {one for one, others in graph.items() if here in others} - reached
            reached |= fresh
            pending += fresh
        assert newer == (None if campaign in reached else reached)


TIMES = st.sampled_from([None, "", LONG_AGO, LONG_AGO, YESTERDAY])


@st.composite
def histories(draw):
    """Datasets of some campaigns in any order of superseding, with outputs, versions, verdicts and copies of any kind."""
    number = 0
    found = []
    for campaign in "abcd":
        outputs, validated = [], {}
        for run in (1, 2):
            for version in range(1, draw(st.integers(0, 3)) + 1):
                number += 1
                copies = {"on_disk": draw(st.booleans()), "on_tape": draw(st.booleans())}
                outputs.append(output(number, run, version, produced=draw(TIMES), **copies))
                if (since := draw(TIMES)) is not None:
                    validated.setdefault(run, {})[outputs[-1].fingerprint] = since
        rule = RetentionRule(
            "kekcc",
            disk=draw(st.sampled_from([None, 1, 2])),
            tape=draw(st.sampled_from(["all", "rest", "none"])),
            versions=draw(st.sampled_from([None, 1, 2])),
            after_days=draw(st.sampled_from([0, 30])),
        )
        found.append(dataset(campaign, *outputs, validated=validated, rule=rule))
    return found, draw(GRAPHS)


@settings(max_examples=250, deadline=None)
@given(histories())
def test_over_all_histories_what_is_newest_and_validated_stays(history):
    datasets, graph = history
    successors = find_successors([one.name for one in datasets], graph)
    later = find_later_campaigns(graph)
    by_campaign = {one.name.campaign: one for one in datasets}
    for one, wanted in decide(datasets, successors, NOW):
        assert [each.output for each in wanted] == sorted(
            one.outputs, key=lambda each: (each.run, each.version)
        )
        for each in wanted:
            run = each.output.run
            mine = [other for other in wanted if other.output.run == run]
            if not each.disk:
                assert each.tape
                newer = [
                    by_campaign[other] for other in later.get(one.name.campaign) or () if other in by_campaign
                ]
                there = [
                    other
                    for other in newer
                    for made in other.outputs
                    if made.run == run
                    and made.on_disk
                    and other.validated.get(run, {}).get(made.fingerprint) in (LONG_AGO, YESTERDAY)
                ]
                assert len({other.name for other in there}) >= one.rule.disk >= 1
            if not each.kept:
                stay = [other.output for other in mine if other.kept]
                assert stay
                assert max(other.output.version for other in mine) == max(made.version for made in stay)
                validated = one.validated.get(run, {})
                if any(made.output.fingerprint in validated for made in mine):
                    assert any(made.fingerprint in validated for made in stay), (
                        "the newest validated one stays"
                    )
