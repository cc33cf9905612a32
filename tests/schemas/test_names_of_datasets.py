"""Names of datasets: the manifest's schema accepts exactly what `parse_dataset` reads."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.json_schema.validation import load_schema
from schemas.manifest.dataset import HOLDERS, hold_level, parse_dataset
from schemas.manifest.step import list_data_levels

INPUT = load_schema("campaign")["$defs"]["step"]["properties"]["input"]["properties"]
NAME = INPUT["dataset"]
WORDS = st.sampled_from(
    [*HOLDERS, *list_data_levels(), "prod6", "preproc8.b+1", "cdst@adc2e-7", "hlt_bhabha", "A", ""]
)
ODD = st.text("aZ0_-.+@/:é\n ", max_size=12)


@given(
    st.lists(WORDS | ODD, min_size=1, max_size=4).map("/".join), st.sampled_from(["", ":1", ":0", ":12", ":"])
)
@example("detector/raw", "")
@example("unassigned/a_b", "")
@example("unassigned/mdst/x", "")
@example("prod6/skims", "")
@example("prod6/cdst@adc2e-7/cdst", ":2")
def test_the_schema_accepts_what_is_read_and_it_is_written_back(name, edition):
    text = name + edition
    accepted = (
        bool(re.search(NAME["pattern"], text)) and len(text) <= NAME["maxLength"] and not text.endswith("\n")
    )
    if accepted:
        assert str(parse_dataset(text)) == text
    else:
        with pytest.raises(ValueError, match="is not a name of a dataset"):
            parse_dataset(text)


def test_every_level_has_a_dataset_for_files_of_nobody():
    for level in list_data_levels():
        name = parse_dataset(hold_level(level))
        assert (name.is_held, name.output, name.dataset) == (True, level, hold_level(level))


@given(ODD | WORDS)
@example("hlt_mumu_2tr....k")
@example("a" * 64)
@example("a" * 65)
def test_a_skim_that_is_read_makes_a_name_of_a_dataset(skim):
    """Each of `skims` beside `dataset: prod6/skims` names a dataset of its own, so what no dataset can be called is no skim to read."""
    pattern = INPUT["skims"]["items"]["pattern"]
    if re.search(pattern, skim) and not skim.endswith("\n"):
        assert parse_dataset(f"prod6/skims/{skim}").output == skim
    else:
        assert not re.fullmatch(load_schema("skims")["properties"]["skims"]["propertyNames"]["pattern"], skim)
