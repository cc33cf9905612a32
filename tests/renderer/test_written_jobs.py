"""The file of a job JSON: what is written by hand is what the standard library's encoder writes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.jobs import job_json

ENCODE = json.JSONEncoder(sort_keys=True).encode
NAMES = st.text(st.sampled_from('ab"\\é\n\x00\U0001f600'), max_size=5)
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
MAPS = st.dictionaries(NAMES, SIMPLE | st.lists(NAMES, max_size=2), max_size=3)
VALUES = SIMPLE | st.lists(SIMPLE, max_size=3) | MAPS | st.lists(MAPS, max_size=3)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_each_key_has_its_line_and_each_map_of_a_list_too(rendered):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_json, "check_rendered", lambda *_: None)  # any value, not only those of jobs
        written = job_json.write_job(rendered).decode()

    def show(value):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n  " + ",\n  ".join(map(ENCODE, value)) + "\n ]"
        return ENCODE(value)

    lines = [f"{ENCODE(key)}: {show(value)}" for key, value in sorted(rendered.items())]
    assert written == "{\n " + ",\n ".join(lines) + "\n}\n"
