"""One digest says which outputs a dataset has of some runs: it is another one as soon as any of them is another."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.datasets.output_digests import MadeColumns, OutputRow, digest_columns, digest_rows
from schemas.manifest.runs import gather_runs

OWN = "proc7/reco/mdst"
hexes = st.integers(0, 3).map(lambda number: f"{number:064x}")
versions = st.tuples(st.integers(1, 2), st.sampled_from([OWN, "proc6/reco/mdst"]))
rows = st.builds(OutputRow, hexes, hexes, st.none() | hexes, versions)


@given(st.dictionaries(st.integers(1, 20), rows, min_size=1), st.data())
def test_the_digest_is_of_just_these_outputs(made, data):
    runs = [*made]
    known = digest_rows(OWN, made, runs)
    assert digest_rows(OWN, dict(reversed(made.items())), runs[::-1]) == known
    assert digest_rows(OWN, {**made, 99: made[runs[0]]}, runs) == known, "other runs do not count"
    assert digest_rows(OWN, made, [*runs, 99]) is None
    run, other = data.draw(st.sampled_from(runs)), data.draw(rows)
    assert (digest_rows(OWN, {**made, run: other}, runs) == known) == (other == made[run])


@given(st.sets(st.integers(1, 20), min_size=1), hexes, st.booleans())
def test_columns_and_rows_of_the_same_outputs_have_one_digest(numbers, recipe, conditions):
    runs = sorted(numbers)
    row = OutputRow(recipe, "", "5" * 64 if conditions else None, (1, OWN))
    made = {run: replace(row, input=f"{run:064x}") for run in runs}
    pieces = ["".join(one.input for one in made.values())]
    sets = ["5" * 64] * len(runs) if conditions else None
    column = MadeColumns(recipe, gather_runs(runs), pieces, sets)
    assert digest_columns([column], {}) == digest_rows(OWN, made, runs)
