"""Columns of digests are lists of texts, and by run they are dictionaries."""

from __future__ import annotations

from array import array
from hashlib import sha256
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer.identity import digest_columns
from renderer.identity.digest_columns import DigestColumn, RunDigests, choose, find_places, write
from renderer.identity.fingerprint import Fingerprints

keys = st.sets(st.integers(0, 40)).map(sorted)


def digest(number):
    return sha256(str(number).encode()).hexdigest()


def pack(texts):
    return DigestColumn(bytes.fromhex("".join(texts)))


@given(st.lists(st.integers(0, 9)), st.slices(9), st.data())
def test_a_column_is_a_list(numbers, part, data):
    texts = [digest(number) for number in numbers]
    column = pack(texts)
    assert list(column) == texts == column
    assert [column[place] for place in range(-len(texts), len(texts))] == texts + texts
    assert column[part] == texts[part]
    assert "".join(write(column)) == "".join(texts)
    indices = data.draw(st.lists(st.sampled_from(range(len(texts)))) if texts else st.just([]))
    assert choose(column, indices) == choose(texts, indices) == [texts[index] for index in indices]


@pytest.mark.parametrize("many", [1, 10_000], ids=["by numpy", "by itself"])
@given(keys, keys)
def test_runs_and_digests_are_found_however_many_they_are(many, there, asked):
    with patch.object(digest_columns, "_MANY", many):
        places = find_places(array("q", there), asked)
        assert places == [there.index(run) for run in asked if run in there]
        texts = [digest(run) for run in there]
        assert choose(pack(texts), places) == [texts[place] for place in places]


@given(keys, keys)
def test_digests_by_run_are_a_dictionary(there, asked):
    known = {run: digest(run) for run in there}
    found = RunDigests(array("q", there), pack(known.values()))
    assert dict(found) == known == dict(found.items())
    assert [found.get(run) for run in asked] == [known.get(run) for run in asked]
    runs, digests = found.choose(asked)
    assert list(runs) == [run for run in asked if run in known]
    assert list(digests) == [known[run] for run in runs]


def test_fingerprints_are_the_inputs_of_what_reads_them():
    column = Fingerprints("r" * 64, "files", pack([digest(1), digest(2)]))
    assert list(column.pack()) == [value.hex() for value in column]
