"""Which outputs are validated by kept comparisons: by the newest of each kind, of frozen editions and of heads as they were."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.ledger.reading.heads import read_heads
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import keep_comparison
from reconciler.ledger.writing.transaction import Writer
from reconciler.planning.declared_heads import read_head
from reconciler.validation.kept.validated_outputs import (
    KeptVerdict,
    choose_validated,
    read_validated,
    read_verdicts,
)
from schemas.files.canonical import canonical_json
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_runs
from tests.support.worlds.frozen_datasets import RECO, freeze, make_two_of_three
from tests.support.worlds.worlds import WHO


def verdict(
    said: str, time: int = 0, edition: str = "e1", against: str = "prod6/reco/mdst", by: str = "counts"
):
    return KeptVerdict("proc7/reco/mdst", edition, against, by, said, f"2019-02-0{time + 1}T00:00:00Z")


@pytest.mark.parametrize(
    ("verdicts", "validated"),
    [
        ([], False),
        ([verdict("pass")], True),
        ([verdict("warn")], True),
        ([verdict("inconclusive")], False),
        ([verdict("fail")], False),
        ([verdict("pass", 0), verdict("fail", 1)], False),
        ([verdict("fail", 0), verdict("pass", 1)], True),
        ([verdict("pass", 0), verdict("inconclusive", 1)], False),
        ([verdict("pass"), verdict("fail", by="tracking")], False),
        ([verdict("pass"), verdict("inconclusive", by="tracking")], True),
        ([verdict("pass"), verdict("fail", against="proc6/reco/mdst")], False),
        ([verdict("pass", 1), verdict("fail", 1)], False),
        ([verdict("pass", against="proc7/reco/mdst")], False),
        ([verdict("pass", edition="e2"), verdict("fail")], False),
    ],
)
def test_the_newest_verdicts_decide(verdicts, validated):
    for some in itertools.permutations(verdicts):
        assert ("e1" in {one.edition for one in choose_validated(some)}) is validated


@given(
    st.lists(
        st.builds(
            verdict,
            st.sampled_from(["pass", "warn", "inconclusive", "fail"]),
            st.integers(0, 8),
            st.sampled_from(["e1", "e2"]),
        )
    )
)
def test_a_later_failure_ends_it(verdicts):
    for one in choose_validated(verdicts):
        assert one.since in {each.created for each in verdicts if each.edition == one.edition}
        assert one.edition not in {
            each.edition for each in choose_validated([*verdicts, verdict("fail", 8, one.edition)])
        }


def keep(world, edition, said: str = "pass", dataset: str = RECO) -> None:
    """What `b2prod compare … --keep` does, with a verdict of the test's."""
    side = {"dataset": dataset, "edition": edition.digest, "alone": ""}
    told = {
        "compared": side,
        "against": {**side, "dataset": "prod6/reco/mdst"},
        "runs": format_runs(sorted(edition.runs)),
    }
    told |= {"validation": {"name": "counts", "digest": "c" * 64}, "verdict": said}
    with opened(world.state) as engine:
        assert keep_comparison(Writer(engine, None), canonical_json(told), WHO)


def read(world):
    name = parse_dataset(RECO)
    with reading(world.state) as connection:
        verdicts = read_verdicts(connection).get(RECO, ())
        return read_validated(connection, name, verdicts), {
            one.run: one.fingerprint for one in read_heads(connection, "proc7") if one.output == "mdst"
        }


@pytest.mark.parametrize("frozen", [True, False])
def test_the_outputs_of_a_validated_edition(tmp_path, frozen):
    world = make_two_of_three(tmp_path)
    if frozen:
        freeze(world)
    with reading(world.state) as connection:
        edition = read_head(connection, world.repository(), parse_dataset(RECO), world.state)
    found, heads = read(world)
    assert not found
    assert len(heads) == 2
    keep(world, edition)
    found, _ = read(world)
    assert {run: [*some] for run, some in found.items()} == {run: [one] for run, one in heads.items()}
    keep(world, edition, "fail")
    assert not read(world)[0]


def test_an_edition_that_nothing_makes_validates_nothing(tmp_path):
    world = make_two_of_three(tmp_path)
    with reading(world.state) as connection:
        edition = read_head(connection, world.repository(), parse_dataset(RECO), world.state)
    keep(
        world,
        type(edition)(
            edition.dataset,
            edition.made,
            {**edition.runs, min(edition.runs): edition.runs[max(edition.runs)]},
        ),
    )
    assert not read(world)[0]
