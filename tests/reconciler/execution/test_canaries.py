"""Canaries: which runs they are, and what opens one that waits for a verdict."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.execution.launch.canary_choice import choose_canary, choose_nearest
from reconciler.execution.launch.canary_verdict import (
    OPEN,
    CanaryComparison,
    CanaryMemory,
    judge_canary,
)
from reconciler.ledger.store.database import reading
from reconciler.model.sign_offs import SignOffs, VoidSignature
from reconciler.validation.comparison import Comparison
from reconciler.validation.production_facts import ProductionFacts, RunFacts
from reconciler.validation.results import CheckResult, ValidationVerdict
from schemas.manifest.canary import MOST, aim, divide_period, parse_chosen
from schemas.manifest.runs import format_runs, run_key
from schemas.policy.validation import Checks, Validation
from schemas.rules import check_repository
from tests.support.worlds.builders import read, swap, tree
from tests.support.worlds.worlds import ONE_STEP, World

PASS, WARN, FAIL, INCONCLUSIVE = (ValidationVerdict(one) for one in ("pass", "warn", "fail", "inconclusive"))
RUNS = (run_key(3, 1), run_key(3, 2))
NOBODY = SignOffs(missing={"validation": "nobody has signed"})
SIGNED = SignOffs(signed={"validation": ("validation-manager@example.org",)})
VOID = SignOffs(
    missing={"validation": "…"},
    void=(VoidSignature("validation", "validation-manager@example.org", "the evidence has changed since"),),
)
STOPPED = SignOffs(signed={"validation": ("validation-manager@example.org",)}, obstacle="the policy expired")


def compare(*verdicts: ValidationVerdict) -> CanaryComparison:
    validation = Validation("canary", "A canary", Checks(), {}, {})
    made = []
    for number, verdict in enumerate(verdicts):
        sides = [
            ProductionFacts(f"{name}/reco/mdst{number}", "0" * 64, dict.fromkeys(RUNS, RunFacts(1)), {}, True)
            for name in ("proc8", "proc7")
        ]
        result = CheckResult(
            "events", verdict, f"so it {verdict}", ({"run": "3:1", "verdict": verdict.value},)
        )
        made.append(Comparison(sides[0], sides[1], validation, RUNS, (result,)))
    return CanaryComparison("proc8", RUNS, tuple(made), "" if made else "proc7 has nothing of 3:1-2")


TRANSITIONS = [
    ((PASS,), NOBODY, True, ""),
    ((PASS, PASS), NOBODY, True, ""),
    ((WARN,), SIGNED, True, ""),
    ((PASS, WARN), SIGNED, True, ""),
    (
        (WARN,),
        NOBODY,
        False,
        "waits for a signature of validation: `b2prod approve --canary proc8 --reason …`",
    ),
    ((WARN,), VOID, False, "(validation-manager@example.org: the evidence has changed since)"),
    ((WARN,), STOPPED, False, "(the policy expired)"),
    (
        (FAIL,),
        NOBODY,
        False,
        "its canary of 2 runs failed: proc8/reco/mdst0, events: so it fail; see `b2prod compare ",
    ),
    ((FAIL,), SIGNED, False, "no signature opens it"),
    ((WARN, FAIL), SIGNED, False, "proc8/reco/mdst1, events: so it fail"),
    ((INCONCLUSIVE,), NOBODY, False, "is inconclusive: proc8/reco/mdst0, events: so it inconclusive"),
    ((INCONCLUSIVE, WARN), SIGNED, False, "is inconclusive"),
    ((), SIGNED, False, "is inconclusive: proc7 has nothing of 3:1-2"),
]


@pytest.mark.parametrize(("verdicts", "signed", "opens", "told"), TRANSITIONS)
def test_what_opens_a_canary(verdicts, signed, opens, told):
    state = judge_canary(compare(*verdicts), signed)
    assert state.is_open is opens
    assert told in state.reason
    assert (state == OPEN) is opens


def test_every_combination_is_in_the_table_of_what_opens():
    """Only a pass, or a warning that is signed."""
    for verdict, signed in itertools.product(ValidationVerdict, (NOBODY, SIGNED, VOID, STOPPED, SignOffs())):
        expected = verdict == PASS or (verdict == WARN and signed is SIGNED)
        assert judge_canary(compare(verdict), signed).is_open is expected


def test_what_is_signed_are_the_comparisons_and_the_runs():
    one, other = compare(WARN).open_matter(), compare(WARN, PASS).open_matter()
    assert one.subject == "canary/proc8"
    assert one.digest == compare(WARN).open_matter().digest
    assert one.digest != other.digest
    assert one.digest != CanaryComparison("proc8", RUNS[:1], compare(WARN).comparisons).open_matter().digest
    assert "WARN  proc8/reco/mdst0 against proc7/reco/mdst0, on 3:1-2" in one.lines


def test_a_comparison_is_recalled_for_what_it_was_made_from():
    memory, made = CanaryMemory(), compare(PASS)
    assert memory.recall("proc8", "a") is None
    memory.keep("proc8", "a", made)
    assert memory.recall("proc8", "a") is made
    assert memory.recall("proc8", "b") is None
    assert memory.recall("proc7", "a") is None


# ── which runs ──

RUN_LISTS = st.lists(st.integers(1, 5000), min_size=1, max_size=80, unique=True).map(sorted)


@given(runs=RUN_LISTS, count=st.integers(1, 12))
def test_a_spread_takes_as_many_runs_as_there_are_the_first_and_the_last_and_leaves_no_gap(runs, count):
    parts = divide_period(runs, count)
    chosen = [aim(number, len(parts), part) for number, part in enumerate(parts)]
    assert [run for part in parts for run in part] == runs
    assert chosen == sorted({*chosen})
    assert len(chosen) == min(count, len(runs))
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (runs[0], runs[-1])
        places = [runs.index(run) for run in chosen]
        gaps = [after - before for before, after in itertools.pairwise(places)]
        assert max(gaps) <= 2 * (len(runs) / len(chosen) + 1)


@given(
    runs=RUN_LISTS,
    count=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
)
def test_a_run_that_was_begun_stays_in_the_canary_whatever_input_comes_later(runs, count, order):
    """Input comes run by run; whenever there is enough, the canary is begun. From then on it does not move."""
    parts = divide_period(runs, count)
    coming, there, begun = list(runs), set(), {}
    order.shuffle(coming)
    seen: list[int] | None = None
    for run in coming:
        there.add(run)
        chosen = [
            choose_nearest(part, aim(number, len(parts), part), there, begun.get(number))
            for number, part in enumerate(parts)
        ]
        if None in chosen:
            continue
        assert seen is None or chosen == seen
        seen = chosen
        begun = dict(enumerate(chosen))
    assert seen is not None


def test_a_spread_of_a_campaign_is_not_the_first_runs_and_does_not_move(tmp_path):
    limits = "canary: {spread: 3}\nlimits:"
    world = World(tmp_path, ("limits:", limits), campaign=ONE_STEP, files=(1,) * 7, slots=4)
    world.change(('ranges: "1-2"', 'ranges: "1-7"'))
    assert find(world) == "3:1,3,7"
    assert world.reconcile().produced == 3
    assert find(world) == "3:1,3,7"
    world.register(4, "late.root")  # the input of a run that was not begun changes
    assert world.reconcile().produced == 4
    assert find(world) == "3:1,3,7", "also when all are made"


def find(world: World) -> str:
    view = world.state_view().views[0]
    with reading(world.state) as connection:
        return format_runs(sorted(choose_canary(connection, view, view.campaign.canary)))


def test_first_runs_stay_the_canary_when_an_earlier_run_gets_its_input_later(tmp_path):
    limits = "canary: {runs: 2}\nlimits:"
    world = World(tmp_path, ("limits:", limits), campaign=ONE_STEP, files=(0, 0, 1, 1, 1), slots=4)
    world.change(('ranges: "1-2"', 'ranges: "1-5"'))
    assert find(world) == "3:3-4"
    assert world.reconcile().produced == 2
    for run in (1, 2):
        world.register(run, f"raw.{run}.root")
    assert find(world) == "3:3-4"
    assert world.reconcile().produced == 3, "all others follow, and none of them is waited for"


def test_chosen_runs_go_first(tmp_path):
    limits = 'canary: {runs: "3:2, 3:4-5"}\nlimits:'
    world = World(tmp_path, ("limits:", limits), campaign=ONE_STEP, files=(1,) * 4, slots=4)
    world.change(('ranges: "1-2"', 'ranges: "1-4"'))
    assert find(world) == "3:2,4"
    assert world.reconcile().produced == 2
    assert world.reconcile().produced == 2


def test_a_chosen_run_without_input_is_waited_for(tmp_path):
    limits = 'canary: {runs: "3:2-3"}\nlimits:'
    world = World(tmp_path, ("limits:", limits), campaign=ONE_STEP, files=(1, 1), slots=4)
    world.register_runs([3])
    world.change(('ranges: "1-2"', 'ranges: "1-3"'))
    world.reconcile()
    outcome = world.reconcile()
    assert outcome.held == {"the canary of proc7 goes first": 1}
    world.register(3, "raw.3.root")
    world.reconcile()
    assert world.reconcile().produced == 1


@pytest.mark.parametrize("text", ["3:529-533, 3:600", "3:529-533,600", "3:529-533 3:600"])
def test_chosen_runs_are_read(text):
    assert format_runs(parse_chosen(text)) == "3:529-533,600"


def test_a_canary_has_an_end():
    with pytest.raises(ValueError, match=f"at most {MOST:,} are taken"):
        parse_chosen("3:1-2000")


WRONG = {
    '{runs: "3:1-2"}': ["BP511"],
    '{runs: "3:2-1"}': ["BP401"],
    '{runs: "3:529", spread: 2}': ["BP2"],
    "{then: hold}": ["BP2"],
    "{spread: 2, then: verdict}": ["BP2"],
    "{spread: 2, by: x}": ["BP2"],
    "{spread: 2, then: verdict, by: none, against: proc6}": ["BP506", "BP515"],
}


@pytest.mark.parametrize(("canary", "codes"), WRONG.items(), ids=WRONG)
def test_a_canary_that_makes_no_sense_is_found(canary, codes):
    text = swap(
        tree()["productions/campaigns/proc7/campaign.yaml"].decode(),
        ("limits:", f"canary: {canary}\nlimits:"),
    )
    repository, findings = read({**tree(), "productions/campaigns/proc7/campaign.yaml": text.encode()})
    findings = findings or check_repository(repository)
    assert [one.code[: len(code)] for one, code in zip(findings, codes, strict=True)] == codes
