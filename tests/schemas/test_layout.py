"""Layouts read in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.run import ENERGIES, NO_BEAM
from schemas.manifest.layout import COSMICS, Layout, check_folder

FOLDER = "{release}/{tag_id}/{tag}/{campaign}/{experiment}/{energy}/{run}/{stream}/{level}/{step}/{version}"
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,20}", fullmatch=True)
fields = st.fixed_dictionaries(
    {
        "campaign": names,
        "step": st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True),
        "release": st.sampled_from(["release-03-00-00", "prerelease-03-00-00b"]),
        "tag": st.sampled_from(["data_reprocessing_proc7", "main_2022-07-05"]),
        "tag_id": st.sampled_from(["DB00000438", "DB00002392", "none"]),
        "energy": st.sampled_from([one for one in ENERGIES if one != NO_BEAM] + [COSMICS]),
        "experiment": st.integers(0, 9999).map("e{:04d}".format),
        "run": st.integers(0, 99_999_999).map("r{:05d}".format),
        "level": st.sampled_from(["mdst", "cdst", "skim"]),
        "stream": st.sampled_from(["all", "skim/hlt_hadron"]),
        "version": st.integers(1, 30).map("v{}".format),
    }
)


@given(fields)
def test_what_was_filled_is_read_back(values):
    layout = Layout("kekcc", "", FOLDER)
    assert layout.read(layout.fill(values)) == values


def test_a_strange_path_is_not_read():
    assert Layout("kekcc", "", FOLDER).read("somewhere/else") is None


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("{campaign}/{step}/{experiment}/{run}/{stream}/{level}", None),
        ("{campaign}/{step}/{experiment}/{run}/{level}", "without {stream}"),
        ("{campaign}/{step}/{experiment}/{run}/{stream}/{level}/{color}", "unknown field {color}"),
        ("{campaign}/{step}/{experiment}/{run}/{stream}/{level}/{run:08d}", "with a format"),
        ("../{campaign}/{step}/{experiment}/{run}/{stream}/{level}", "not a plain"),
        ("/{campaign}/{step}/{experiment}/{run}/{stream}/{level}", "not a plain"),
        ("{campaign}/{step}/{experiment}/{run}/{stream}/{level", "braces"),
        ("{campaign.__class__}/{step}/{experiment}/{run}/{stream}/{level}", "unknown field"),
    ],
)
def test_folders_that_cannot_be(folder, says):
    problem = check_folder(folder)
    assert problem is None if says is None else says in problem


def test_a_layout_without_version_says_so():
    assert not Layout("old", "", "{run}").versioned
