"""A trial's job ends after its first events, in each application; the JSON of a job that produces does not know of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from renderer.event_data.event_file import open_events
from renderer.jobs.job_json import InputFile, StepJobs, divide_input
from renderer.skimming import skim
from tests.support.inputs.scripts import CONVERT
from tests.support.inputs.skim_jobs import read_output, write_events, write_run
from tests.support.inputs.skim_jobs import write_job as describe_skims
from tests.support.worlds.script_world import Converting
from tests.support.worlds.worlds import World

ODD = {"odd": {"cut": "value == 1"}}


def write_odd(path, size=5):
    return write_run(path, size, value=np.arange(1, size + 1) % 2)


@pytest.mark.parametrize(
    ("most", "read", "kept"),
    [(1, 1, [1]), (4, 4, [1, 3]), (7, 7, [1, 3, 5, 1]), (99, 10, [1, 3, 5, 1, 3, 5])],
)
def test_uproot_reads_the_first_events_over_all_inputs_in_their_order(tmp_path, most, read, kept):
    paths = [write_odd(tmp_path / "a.root"), tmp_path / "b.root"]
    write_run(paths[1], 5, value=np.arange(1, 6) % 2)
    job = describe_skims(paths, ODD)
    # the second file would have the same events again: its numbers go on
    write_events(
        paths[1],
        experiment=np.full(5, 3),
        run=np.full(5, 529),
        event=np.arange(101, 106),
        value=np.arange(1, 6) % 2,
    )
    report = skim({**job, "most_events": most}, tmp_path)
    assert report["failure"] is None
    assert report["events_read"] == read
    assert [number % 100 for number in read_output(tmp_path / "odd.root")["event"]] == kept


def test_a_trial_does_not_mind_that_more_events_are_registered(tmp_path):
    job = describe_skims([write_odd(tmp_path / "a.root")], ODD)
    job["inputs"][0]["events"] = 5
    assert skim({**job, "most_events": 2}, tmp_path)["failure"] is None
    job["inputs"][0]["events"] = 6
    assert skim(job, tmp_path)["failure"]["class"] == "input"


@pytest.mark.parametrize("most", range(1, 8))
def test_candidates_of_one_event_stay_together(tmp_path, most):
    counts = [3, 1, 2, 1, 4]
    events = np.repeat(np.arange(1, 6), counts)
    size = len(events)
    file = write_events(
        tmp_path / "a.root",
        __experiment__=np.full(size, 3),
        __run__=np.full(size, 529),
        __event__=events,
        __candidate__=np.concatenate([np.arange(count) for count in counts]),
    )
    with open_events(file, "a.root", None) as opened:
        chunks = [*opened.read_chunks(most=most)]
    assert sum(chunk.events for chunk in chunks) == min(most, 5)
    assert sum(map(len, chunks)) == sum(counts[:most])


def render(world, most=None):
    repository = world.repository()
    campaign = repository.campaigns["proc7"].campaign
    step = campaign.steps[0]
    (job,) = divide_input(step, [InputFile("raw.root", "/raw.root", 1, "adler32:1", 9)])
    prints = dict.fromkeys(step.outputs, bytes(32))
    jobs = StepJobs(campaign, step, repository, repository.sites["local"], most)
    assert json.loads(jobs.write(3 << 32 | 1, job, prints)) == jobs.render(3 << 32 | 1, job, prints)
    return jobs.render(3 << 32 | 1, job, prints)


def test_basf2_has_the_number_as_its_option(tmp_path):
    world = World(tmp_path)
    whole, limited = render(world), render(world, 100)
    assert limited["command"][-5:] == ["-n", "100", "steering.py", "--", "job.json"]
    assert limited["command"][-6] == "basf2"
    assert {**limited, "command": whole["command"]} == {**whole, "most_events": 100}


def test_a_script_has_it_in_its_environment_and_in_the_json(tmp_path):
    world = Converting(tmp_path, campaign=CONVERT, files=(1, 1))
    whole, limited = render(world), render(world, 100)
    assert limited == {**whole, "most_events": 100}
