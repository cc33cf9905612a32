"""Bundling: which jobs share one, and what that one asks for."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from reconciler.conditions.metadata_file import write_metadata
from reconciler.execution.launch import preparation
from reconciler.execution.launch.preparation import WorkPreparation, list_work
from reconciler.execution.tracking.orphan_jobs import _read_members
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.reading.statistics import JobStatistics, Spread
from reconciler.model.bundles import (
    UNTIMED,
    BundledJob,
    Duration,
    TimeLimit,
    choose_minutes,
    divide_jobs,
    find_least,
    find_place,
    read_limit,
)
from reconciler.model.engine import Batch, JobHandle
from schemas.manifest.step import Bundle
from schemas.policy.site import BatchSettings, Queue, Site
from tests.support.worlds.slurm_campaign import SlurmWorld
from tests.support.worlds.worlds import World

JOBS = st.lists(
    st.builds(
        BundledJob,
        run=st.integers(0, 3),
        minutes=st.none() | st.floats(0, 100, allow_nan=False),
        alone=st.booleans(),
    ),
    max_size=60,
)
BUNDLES = (
    st.none() | st.builds(Bundle, runs=st.integers(1, 3)) | st.builds(Bundle, minutes=st.integers(1, 150))
)


def jobs(*minutes, run=0):
    return [BundledJob(run + index, one) for index, one in enumerate(minutes)]


@given(JOBS, BUNDLES)
def test_each_job_is_in_exactly_one_bundle_which_is_not_too_large(waiting, bundle):
    sizes = divide_jobs(waiting, bundle)
    assert sum(sizes) == len(waiting)
    assert all(size > 0 for size in sizes)
    ends = [0, *accumulate(sizes)]
    for first, end in pairwise(ends):
        some = waiting[first:end]
        if len(some) == 1:
            continue
        assert bundle is not None
        assert not any(one.alone for one in some)
        assert bundle.runs is None or len({one.run for one in some}) <= bundle.runs
        if bundle.minutes is not None:
            known = [one.minutes for one in some if one.minutes is not None]
            assert len(known) == len(some)
            assert sum(known) <= bundle.minutes


@given(JOBS, BUNDLES)
def test_a_bundle_ends_only_where_the_next_job_does_not_fit(waiting, bundle):
    sizes = divide_jobs(waiting, bundle)
    for end, size, following in zip(accumulate(sizes), sizes, sizes[1:], strict=False):
        joined = divide_jobs(waiting[end - size : end + 1], bundle)
        assert joined[0] == size, (joined, size, following)


@given(JOBS, BUNDLES, st.integers(10, 40), st.integers(1, 60))
def test_a_bundle_of_several_gets_all_the_time_that_it_asks_for(waiting, bundle, one, most):
    site = Site(
        "kekcc", "lsf", "data", queue="l", queues={"l": Queue(minutes=most)}, batch=BatchSettings(minutes=one)
    )
    plenty = replace(site, queues={})
    sizes = divide_jobs(waiting, bundle, read_limit(site))
    assert sum(sizes) == len(waiting)
    for end, size in zip(accumulate(sizes), sizes, strict=True):
        shared = [[job.minutes for job in waiting[end - size : end]]]
        if size > 1:
            assert choose_minutes(site, shared) == choose_minutes(plenty, shared)


@pytest.mark.parametrize(
    ("waiting", "bundle", "limit", "sizes"),
    [
        (jobs(*[30.0] * 40), Bundle(runs=1000), TimeLimit(60, 600), [18, 18, 4]),
        (jobs(*[None] * 25), Bundle(runs=1000), TimeLimit(60, 600), [10, 10, 5]),
        (jobs(*[30.0] * 40), Bundle(minutes=10_000), TimeLimit(60, 600), [18, 18, 4]),
        (jobs(*[30.0] * 5), Bundle(minutes=60), TimeLimit(60, 600), [2, 2, 1]),
        (jobs(*[30.0] * 5), Bundle(runs=1000), TimeLimit(60), [5]),
        (jobs(*[30.0] * 5), Bundle(runs=1000), TimeLimit(None, 70), [2, 2, 1]),
        (jobs(None, None), Bundle(runs=1000), TimeLimit(900, 600), [1, 1]),
    ],
)
def test_a_bundle_ends_where_it_would_ask_for_more_than_the_queue_gives(waiting, bundle, limit, sizes):
    assert divide_jobs(waiting, bundle, limit) == sizes


@given(JOBS, BUNDLES)
def test_the_place_of_each_attempt_is_told_from_the_sizes(waiting, bundle):
    sizes = divide_jobs(waiting, bundle)
    told = [find_place(sizes, place) for place in range(len(waiting))]
    wanted = [(job, place, size) for job, size in enumerate(sizes) for place in range(size)]
    assert [(one.job, one.place, one.size) for one in told] == wanted


def test_without_bundles_each_attempt_is_a_job():
    place = find_place((), 7)
    assert (place.job, place.place, place.size) == (7, 0, 1)


@pytest.mark.parametrize(
    ("waiting", "bundle", "sizes"),
    [
        (jobs(None, None, None, None, None), Bundle(runs=2), [2, 2, 1]),
        ([*jobs(None), *jobs(None), *jobs(None, run=1)], Bundle(runs=1), [2, 1]),
        (jobs(10.0, 20.0, 30.0, 1.0), Bundle(minutes=60), [3, 1]),
        (jobs(90.0, 1.0, 1.0), Bundle(minutes=60), [1, 2]),
        (jobs(None, None, 1.0, 1.0, None), Bundle(minutes=60), [1, 1, 2, 1]),
        ([*jobs(1.0), BundledJob(9, 1.0, alone=True), *jobs(1.0, 1.0)], Bundle(runs=9), [1, 1, 2]),
        (jobs(1.0, 1.0), None, [1, 1]),
        ([], Bundle(runs=2), []),
    ],
)
def test_known_answers(waiting, bundle, sizes):
    assert divide_jobs(waiting, bundle) == sizes


def test_minutes_are_told_from_events_and_else_as_of_a_typical_job():
    assert Duration(0.5, 7.0).tell(10) == 5.0
    assert Duration(0.5, 7.0).tell(None) == 7.0
    assert Duration(None, 7.0).tell(10) == 7.0
    assert Duration(0.5).tell(None) is None
    assert Duration().tell(10) is None


@pytest.mark.parametrize(
    ("bundles", "asked"),
    [
        ([[None]], None),
        ([[5.0], [5.0]], None),
        ([[5.0, 5.5], [1.0]], 111),
        ([[None, None, None], [1.0]], 300),
        ([[5.0, None]], 200),
        ([[90.0, 90.0]], 200),
        ([[None] * 50], 1000),
    ],
)
def test_a_bundle_asks_for_the_sum_of_its_jobs_times(bundles, asked):
    site = Site(
        "kekcc",
        "lsf",
        "data",
        queue="l",
        queues={"l": Queue(minutes=1000)},
        batch=BatchSettings(minutes=100),
    )
    assert choose_minutes(site, bundles) == asked


def test_where_the_site_states_no_time_none_is_asked_for():
    assert choose_minutes(Site("kekcc", "lsf", "data"), [[5.0, 5.0]]) is None


@pytest.mark.parametrize(
    ("slots", "bundle", "waiting", "least"),
    [
        (1000, None, 400, 1),
        (1000, Bundle(runs=50), 400, 50),
        (1000, Bundle(runs=50), 3, 3),
        (100, Bundle(runs=50), 400, 10),
        (4, Bundle(runs=50), 400, 1),
        (1000, Bundle(minutes=60), 400, 100),
    ],
)
def test_a_bundle_waits_for_room_and_never_for_more_than_a_tenth(slots, bundle, waiting, least):
    assert find_least(slots, bundle, waiting) == least


PARAMETERS = "    parameters: {trigger_mode: all}\n"


def prepare(world, said):
    """The items of one step as they are prepared for their jobs, with `said` of the step."""
    world.change((PARAMETERS, f"{PARAMETERS}    {said}\n"), lock=False)
    prepared = WorkPreparation(world.state, world.repository()).prepare(
        list_work(world.state_view().views), {}
    )
    return [item for item, trouble in prepared if trouble is None]


def measured(minutes, per_event):
    spread = None if minutes is None else Spread(9, minutes * 60, minutes * 60, minutes * 60)
    return lambda *_: JobStatistics(9, spread, None, per_event and per_event * 60)


@pytest.mark.parametrize(
    ("said", "used", "duration"),
    [
        ("bundle: {minutes: 60}", measured(None, None), UNTIMED),
        ("bundle: {minutes: 60}", measured(4.0, None), Duration(None, 4.0)),
        ("bundle: {minutes: 60}", measured(4.0, 0.5), Duration(0.5, 4.0)),
        ("bundle: {minutes: 60}\n    expected: {cpu_seconds: 6}", measured(None, None), Duration(0.1)),
        ("bundle: {minutes: 60}\n    expected: {cpu_seconds: 6}", measured(4.0, 0.5), Duration(0.5, 4.0)),
        ("split: run", measured(4.0, 0.5), UNTIMED),
    ],
)
def test_how_long_jobs_take_is_measured_and_else_what_the_step_expects(
    tmp_path, monkeypatch, said, used, duration
):
    monkeypatch.setattr(preparation, "measure_jobs", used)
    items = prepare(SlurmWorld(tmp_path, 2, width=10), said)
    assert {item.duration for item in items} == {duration}
    assert {item.bundle for item in items} == {Bundle(minutes=60) if "bundle" in said else None}


def test_what_units_share_is_asked_for_once_however_many_they_are(tmp_path, monkeypatch):
    """Files of all runs in one query, and one metadata file for runs that have the same payloads."""
    written, said = [], []

    def write(*told):
        written.append(told)
        return write_metadata(*told)

    def note(*told):
        said.append(told[2])

    monkeypatch.setattr(preparation, "write_metadata", write)
    for units in (3, 30):
        world = SlurmWorld(tmp_path / str(units), units, width=10)
        work = WorkPreparation(world.state, world.repository())
        items = list_work(world.state_view().views)
        event.listen(Engine, "before_cursor_execute", note)
        prepared = [item for item, _ in work.prepare(items, {})]
        event.remove(Engine, "before_cursor_execute", note)
        assert [sum("FROM files" in one for one in said), len(prepared)] == [1, units]
        assert len({work.render(item)["conditions.sqlite"] for item in prepared}) == len(written) == 1
        written.clear()
        said.clear()


def test_on_this_machine_each_unit_stays_a_job(tmp_path):
    items = prepare(World(tmp_path), "bundle: {runs: 50}")
    assert {item.bundle for item in items} == {None}


def test_the_members_of_a_bundle_are_known_from_its_folder_alone(tmp_path):
    workspace = Workspace(tmp_path / "attempts", tmp_path / "batches")
    begun = "2019-02-07T12:00:00Z"
    for name, places in (("bundled", (0, 0, 1)), ("each", (0, 1, 2))):
        handles = tuple(
            JobHandle(f"a{number}", "nonce", workspace.path(f"a{number}"), name, place, begun)
            for number, place in enumerate(places)
        )
        workspace.prepare_batch(Batch(name, workspace.batches / name, handles))
        found = _read_members(workspace.batches / name)
        assert [(one.name, one.index, one.folder) for one in found] == [
            (one.name, one.index, one.folder) for one in handles
        ]
