"""From a trial to all runs: two measurements make a line, and a step reads what the one before it keeps."""

from __future__ import annotations

import pytest

from reconciler.planning.estimate import Estimate
from reconciler.planning.extrapolation import Taken, TriedStep, extrapolate
from schemas.manifest.step import Step, StepInput

RECO = Step("reco", "basf2", StepInput(level="raw"), ("mdst",), "file")
SKIM = Step("skim", "uproot", StepInput(level="mdst", step="reco"), ("hadron", "bhabha"), "file")


def took(read, seconds, jobs=1, **outputs):
    kept = {name: events for name, (events, _) in outputs.items()}
    return Taken(jobs, read, seconds, kept, {name: size for name, (_, size) in outputs.items()})


def test_the_start_counts_once_for_each_job_and_an_event_for_each_event():
    start = took(1, 10.1, mdst=(1, 5_100))
    tried = TriedStep(RECO, took(101, 20.1, mdst=(101, 15_100)), start)
    (cost,) = extrapolate([tried], [Estimate("reco", 3, jobs=4, events=36_000, bytes_read=7)])
    assert tried.seconds_per_event == pytest.approx(0.1)
    assert cost.cpu_hours == pytest.approx((4 * 10.0 + 36_000 * 0.1) / 3600)
    assert cost.bytes_written == pytest.approx(4 * 5_000 + 36_000 * 100)
    assert (cost.units, cost.events, cost.bytes_read) == (3, 36_000, 7)
    assert not tried.is_vague


def test_jobs_that_were_tried_together_began_once_each():
    start = took(1, 10.1, mdst=(1, 100))
    tried = TriedStep(RECO, took(102, 30.2, jobs=2, mdst=(102, 10_200)), start)
    assert tried.seconds_per_event == pytest.approx(0.1)


def test_without_a_start_all_time_is_that_of_events():
    tried = TriedStep(RECO, took(100, 20.0, mdst=(100, 1000)))
    (cost,) = extrapolate([tried], [Estimate("reco", 1, 1, 200)])
    assert cost.cpu_hours == pytest.approx(40 / 3600)


def test_a_step_reads_what_the_step_before_it_keeps():
    reco = TriedStep(RECO, took(100, 10.0, mdst=(50, 5_000)))
    skim = TriedStep(SKIM, took(50, 5.0, hadron=(10, 200), bhabha=(0, 100)))
    costs = extrapolate([reco, skim], [Estimate("reco", 2, 6, 2_000, 9), Estimate("skim", 2)])
    assert costs[1] == Estimate(
        "skim",
        2,
        jobs=6,
        events=1_000,
        bytes_read=100_000,
        cpu_hours=pytest.approx(100 / 3600),
        bytes_written=6_000,
    )


@pytest.mark.parametrize(
    ("taken", "events"),
    [
        (took(None, 5.0, mdst=(3, 100)), 1_000),
        (took(0, 5.0, mdst=(0, 100)), 1_000),
        (took(10, 5.0, mdst=(3, 100)), None),
        (took(10, None, mdst=(3, 100)), 1_000),
    ],
    ids=["events not said", "no events", "events of all runs not known", "time not known"],
)
def test_what_nobody_can_tell_is_not_told(taken, events):
    (cost,) = extrapolate([TriedStep(RECO, taken)], [Estimate("reco", 2, 6, events)])
    assert cost.cpu_hours is None


@pytest.mark.parametrize(
    ("seconds", "vague"), [(9.9, True), (10.0, True), (12.4, True), (12.6, False), (50.0, False)]
)
def test_a_job_that_does_little_more_than_start_tells_nothing_of_an_event(seconds, vague):
    tried = TriedStep(RECO, took(100, seconds, mdst=(1, 1)), took(1, 10.0, mdst=(1, 1)))
    assert tried.is_vague is vague
    (cost,) = extrapolate([tried], [Estimate("reco", 2, 6, 10**6)])
    assert cost.cpu_hours >= 60 / 3600 - 1e-9  # six starts, at least
