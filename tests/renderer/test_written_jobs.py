"""The file of a job JSON: what is written by hand is what the standard library's encoder writes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.applications import APPLICATIONS
from renderer.jobs import job_json
from renderer.jobs.job_json import InputFile, StepJobs, divide_input
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import read, tree

ENCODE = json.JSONEncoder(sort_keys=True).encode
NAMES = st.text(st.sampled_from('ab"\\é\n\x00\U0001f600'), max_size=5)
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
MAPS = st.dictionaries(NAMES, SIMPLE | st.lists(NAMES, max_size=2), max_size=3)
VALUES = SIMPLE | st.lists(SIMPLE, max_size=3) | MAPS | st.lists(MAPS, max_size=3)


def spell(rendered):
    """One line for each key, and for each item of a list of maps."""

    def show(value):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n  " + ",\n  ".join(map(ENCODE, value)) + "\n ]"
        return ENCODE(value)

    lines = [f"{ENCODE(key)}: {show(value)}" for key, value in sorted(rendered.items())]
    return "{\n " + ",\n ".join(lines) + "\n}\n"


@given(described=st.dictionaries(NAMES, VALUES, max_size=5), files=st.lists(NAMES, min_size=1, unique=True))
def test_each_key_has_its_line_and_each_map_of_a_list_too(described, files):
    repository, _ = read(tree())
    campaign = repository.campaigns["proc7"].campaign
    step = replace(campaign.steps[0], split="run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_json, "check_rendered", lambda *_: None)  # any value, not only those of jobs
        patch.setattr(APPLICATIONS[step.application], "describe_job", lambda *_: described)
        jobs = StepJobs(campaign, step, repository, repository.sites["local"])
        for run, name in enumerate(files):
            (job,) = divide_input(step, [InputFile(name, f"/data/{name}", run, "adler32:0", run or None)])
            unit = (run_key(3, run), job, {"mdst": bytes([run % 256] * 32)})
            assert jobs.write(*unit).decode() == spell(jobs.render(*unit))
