"""What every engine owes: the same behaviours for each entry of `ALL_RIGS`, with the real service behind it.

A behaviour that needs a fault or a power of the site runs with the rigs that play it (`over`). What is meant by an
answer is for the core to judge; here it is held that no answer says more than the engine can know.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from datetime import timedelta

import pytest

from reconciler.ledger.writing.lease import CALL
from reconciler.model.engine import Accepted, EngineUnavailable, Refused, Sighting, Uncertain
from tests.contract.rig import OUTPUT, PATIENT, ended, result_of, submitted
from tests.contract.rigs import ALL_RIGS
from tests.support.worlds.processes import find_processes

UNMOVED = {Sighting.PENDING, Sighting.RUNNING, Sighting.UNKNOWN}
FAILING = "raise SystemExit(9)"
CALLS = ("submit", "find", "query", "cancel")


def over(*needs):
    """Runs a test with every rig that plays what it needs."""
    chosen = [name for name, rig in ALL_RIGS.items() if rig.plays.issuperset(needs)]
    marked = [pytest.param(name, marks=[pytest.mark.slow] * ALL_RIGS[name].slow) for name in chosen]
    return pytest.mark.parametrize("rig", marked, indirect=True)


def over_faults(*faults):
    """Runs a test with each of these faults, for every rig that plays it."""
    pairs = [
        pytest.param(name, fault, marks=[pytest.mark.slow] * rig.slow)
        for name, rig in ALL_RIGS.items()
        for fault in faults
        if fault in rig.plays
    ]
    return pytest.mark.parametrize(("rig", "fault"), pairs, indirect=["rig"])


@pytest.fixture
def rig(request, tmp_path, monkeypatch):
    with ALL_RIGS[request.param].serving(request, tmp_path, monkeypatch) as rig:
        yield rig


def find(rig, engine, handles):
    """What the engine finds, as soon as it can tell: an accounting that lags behind leaves open what is not there."""
    told = []

    def has_told():
        try:
            told.append(engine.find(handles))
        except EngineUnavailable:
            return False
        return True

    rig.wait(has_told)
    return told[0]


def settled(rig, engine, batch):
    """Tickets of a batch whose submission had no clear answer, found by name: each exactly once."""
    found = {}

    def all_found():
        try:
            found.update(engine.find(batch.handles))
        except EngineUnavailable:
            return False
        return all(found.values())

    rig.wait(all_found)
    assert all(len(references) == 1 for references in found.values()), found
    return [dataclasses.replace(handle, reference=found[handle.name][0]) for handle in batch.handles]


# ── submitting ──


@over()
def test_each_of_a_batch_is_taken_and_ends_with_its_own_result(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(*[OUTPUT] * 5))
    assert len({handle.reference for handle in handles}) == 5
    seen = ended(rig, engine, handles)
    assert {one.failure for one in seen.values()} == {None}
    for handle in handles:
        assert result_of(engine, handle)["failure"] is None


@over()
def test_a_batch_of_one(rig):
    engine = rig.make_engine()
    ended(rig, engine, submitted(engine, rig.make_batch(OUTPUT)))


@over("bundles")
def test_the_members_of_a_bundle_share_a_job_and_each_ends_with_its_own_result(rig):
    engine = rig.make_engine()
    codes = [OUTPUT, FAILING, OUTPUT, OUTPUT, OUTPUT]
    handles = submitted(engine, rig.make_batch(*codes, bundles=[3, 2]))
    assert [len({one.reference for one in some}) for some in (handles, handles[:3], handles[3:])] == [2, 1, 1]
    ended(rig, engine, handles)
    found = [result_of(engine, handle)["failure"] is None for handle in handles]
    assert found == [True, False, True, True, True]


@over("bundles")
def test_one_bundle_alone_is_a_plain_job_and_is_found_by_each_of_its_members(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(PATIENT, OUTPUT, bundles=[2]))
    rig.wait_for(engine, handles, Sighting.RUNNING)
    assert find(rig, engine, handles) == {one.name: [one.reference] for one in handles}
    (handles[0].folder / "go").touch()
    ended(rig, engine, handles)


@over("bundles", "processes")
def test_a_bundle_that_is_cancelled_begins_no_other_member(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(OUTPUT, PATIENT, OUTPUT, PATIENT, bundles=[3, 1]))
    rig.wait(lambda: all((handles[number].folder / "started").exists() for number in (1, 3)))
    rig.wait_for(engine, handles, Sighting.RUNNING)
    rig.end(engine, handles[:3])
    rig.wait(lambda: find_processes(handles[1].folder) == [])
    assert result_of(engine, handles[0])["failure"] is None
    assert not (handles[2].folder / "started").exists()
    assert set(rig.see(engine, handles[3:]).values()) <= UNMOVED
    (handles[3].folder / "go").touch()
    ended(rig, engine, handles[3:])


@over("runtime")
def test_a_member_runs_where_its_folder_is_and_nowhere_else(rig):
    engine = rig.make_engine()
    codes = [f"print('this is {number}'); open('out.root', 'w').write('{number}' * 3)" for number in range(3)]
    handles = submitted(engine, rig.make_batch(*codes))
    ended(rig, engine, handles)
    for number, handle in enumerate(handles):
        assert (handle.folder / "out.root").read_text() == f"{number}" * 3
        assert f"this is {number}" in (handle.folder / "log").read_text()


@over("environment")
def test_only_the_environment_that_the_site_allows_reaches_a_job(rig, monkeypatch):
    monkeypatch.setenv("B2PROD_CANARY", "canary")
    monkeypatch.setenv("BELLE2_CONDB_SERVERLIST", rig.awkward)
    engine = rig.make_engine(environment=("BELLE2_CONDB_SERVERLIST",))
    code = f"import json, os; json.dump(dict(os.environ), open('environment', 'w')); {OUTPUT}"
    names = ["BELLE2_CONDB_SERVERLIST", "B2PROD_CANARY"]
    (handle,) = submitted(engine, rig.make_batch(code, environment=names))
    ended(rig, engine, [handle])
    environment = json.loads((handle.folder / "environment").read_text())
    assert environment["BELLE2_CONDB_SERVERLIST"] == rig.awkward
    assert "B2PROD_CANARY" not in environment
    assert not list(rig.folder.rglob("canary"))


@over()
def test_b25_what_is_submitted_twice_runs_once(rig):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)
    handles = submitted(engine, batch)
    again = engine.submit(batch)
    ended(rig, engine, handles)
    later = [
        dataclasses.replace(handle, reference=answer.reference)
        for handle, answer in zip(batch.handles, again, strict=True)
        if isinstance(answer, Accepted)
    ]
    rig.wait_for(engine, later, Sighting.ENDED, Sighting.ABSENT)
    for handle in handles:
        assert (handle.folder / "started").read_text().count(handle.nonce) == 1
        assert result_of(engine, handle)["failure"] is None
    for references in engine.find(batch.handles).values():
        assert 1 <= len(references) <= 2


# ── what is seen of a job ──


@over("processes")
def test_running_is_running_until_it_has_ended(rig):
    engine = rig.make_engine()
    (handle,) = submitted(engine, rig.make_batch(PATIENT))
    rig.wait((handle.folder / "started").exists)
    rig.wait_for(engine, [handle], Sighting.RUNNING)
    (handle.folder / "go").touch()
    ended(rig, engine, [handle])


@over()
def test_b24_before_its_end_a_job_is_never_ended_or_absent(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(PATIENT, PATIENT))
    until = time.monotonic() + 2
    while time.monotonic() < until:
        assert set(rig.see(engine, handles).values()) <= UNMOVED
        time.sleep(0.1)
    for handle in handles:
        (handle.folder / "go").touch()
    ended(rig, engine, handles)


@over("runtime")
def test_an_application_that_fails_has_ended_and_its_result_says_why(rig):
    engine = rig.make_engine()
    bad, good = submitted(engine, rig.make_batch(FAILING, OUTPUT))
    ended(rig, engine, [bad, good])
    assert result_of(engine, bad)["failure"]["class"] == "unclassified"
    assert result_of(engine, good)["failure"] is None


@over("processes")
def test_a_job_that_is_killed_has_ended_without_a_result(rig):
    engine = rig.make_engine()
    killed, other = submitted(engine, rig.make_batch(PATIENT, PATIENT))
    rig.wait(lambda: len(find_processes(killed.folder)) == 2 and (other.folder / "started").exists())
    for process in find_processes(killed.folder):
        os.kill(process, signal.SIGKILL)
    rig.wait_for(engine, [killed], Sighting.ENDED)
    assert not (killed.folder / "result.json").exists()
    assert set(rig.see(engine, [other]).values()) <= UNMOVED
    (other.folder / "go").touch()
    ended(rig, engine, [other])


@over()
def test_what_has_ended_stays_ended_and_the_same(rig):
    engine = rig.make_engine()
    # without our runtime, what fails leaves no result, and its engine goes on waiting for its outputs
    handles = submitted(engine, rig.make_batch(OUTPUT, FAILING if "runtime" in rig.plays else OUTPUT))
    first = ended(rig, engine, handles)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        seen = engine.query(handles)
        assert {name: (one.sighting, one.failure) for name, one in seen.items()} == {
            name: (one.sighting, one.failure) for name, one in first.items()
        }
        time.sleep(0.2)


@over()
def test_another_process_of_ours_sees_the_same(rig):
    first, second = rig.make_engine(), rig.make_engine()
    handles = submitted(first, rig.make_batch(OUTPUT, OUTPUT))
    ended(rig, second, handles)
    rig.wait_for(first, handles, Sighting.ENDED)


@over()
def test_every_ticket_has_an_observation_and_nobody_else(rig):
    engine = rig.make_engine()
    one = submitted(engine, rig.make_batch(OUTPUT, OUTPUT))
    two = submitted(engine, rig.make_batch(OUTPUT))
    assert set(rig.see(engine, [one[0], *two])) == {one[0].name, two[0].name}
    assert rig.see(engine, []) == {}
    ended(rig, engine, [*one, *two])
    assert set(engine.query([one[1], *two])) == {one[1].name, two[0].name}


@over()
def test_what_was_never_submitted_is_absent_and_never_anything_else(rig):
    engine = rig.make_engine()
    other = submitted(engine, rig.make_batch(OUTPUT))
    handle = rig.make_unsubmitted()
    assert rig.see(engine, [handle])[handle.name] in {Sighting.ABSENT, Sighting.UNKNOWN}
    ended(rig, engine, other)
    rig.wait_for(engine, [handle], Sighting.ABSENT)


@over()
def test_a_reference_that_is_no_id_says_nothing_of_a_job(rig):
    engine = rig.make_engine()
    (handle,) = submitted(engine, rig.make_batch(PATIENT))
    wanted = (
        UNMOVED if engine.attached else {Sighting.UNKNOWN}
    )  # this machine knows its jobs by their folders
    for reference in ("no such id", "0", "-1", "1e3", f"{handle.reference} ", "٣", "9" * 400):
        strange = dataclasses.replace(handle, reference=reference)
        other = dataclasses.replace(handle, name=f"{handle.name}-2")
        assert engine.query([strange])[handle.name].sighting in wanted, reference
        assert engine.query([other, strange])[handle.name].sighting in wanted, reference
    (handle.folder / "go").touch()
    ended(rig, engine, [handle])


@over("hold")
def test_a_held_job_is_pending_for_as_long_as_it_is_held_and_is_found(rig):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)
    with rig.hold(batch):
        handles = submitted(engine, batch)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert set(rig.see(engine, handles).values()) == {Sighting.PENDING}
            time.sleep(0.1)
        assert engine.find(batch.handles) == {one.name: [one.reference] for one in handles}
        assert all(engine.query(handles)[one.name].reason for one in handles), "why it waits, for people"
    ended(rig, engine, handles)


@over("forget")
def test_what_the_queue_has_forgotten_is_not_absent(rig):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, FAILING)
    handles = submitted(engine, batch)
    ended(rig, engine, handles)
    rig.forget(batch)
    seen = engine.query(handles)
    assert {one.sighting for one in seen.values()} == {Sighting.ENDED}
    assert engine.find(batch.handles) == {one.name: [one.reference] for one in handles}


# ── finding by name ──


@over()
def test_nothing_is_found_before_it_is_submitted(rig):
    batch = rig.make_batch(OUTPUT, OUTPUT)
    assert find(rig, rig.make_engine(), batch.handles) == {handle.name: [] for handle in batch.handles}
    assert rig.make_engine().find([]) == {}


@over()
def test_a_job_is_found_by_name_with_the_reference_that_it_got(rig):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT, OUTPUT)
    handles = submitted(engine, batch)
    found = settled(rig, rig.make_engine(), batch)
    assert set(rig.see(engine, found).values()) <= {*UNMOVED, Sighting.ENDED}
    ended(rig, engine, handles)
    assert settled(rig, rig.make_engine(), batch) == handles


@over()
def test_batches_are_found_together_and_not_mixed_up(rig):
    engine = rig.make_engine()
    name = f"b2p-twin-{time.time_ns():x}"
    one, two = rig.make_batch(OUTPUT, OUTPUT, name=name), rig.make_batch(OUTPUT, name=f"{name}-1")
    first = submitted(engine, one)
    assert find(rig, engine, two.handles) == {two.handles[0].name: []}
    second = submitted(engine, two)
    ended(rig, engine, [*first, *second])
    assert engine.find([*two.handles, *one.handles]) == {
        handle.name: [handle.reference] for handle in [*first, *second]
    }


@over("twice")
def test_two_jobs_of_one_name_are_found_in_the_order_in_which_they_were_taken(rig):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)
    first = submitted(engine, batch)
    second = submitted(engine, batch)
    for earlier, later, references in zip(first, second, engine.find(batch.handles).values(), strict=True):
        assert list(references) == [earlier.reference, later.reference]
    rig.wait_for(engine, [*first, *second], Sighting.ENDED)


# ── cancelling ──


@over("processes")
def test_cancelled_is_asked_for_and_then_seen(rig):
    engine = rig.make_engine()
    one, other = submitted(engine, rig.make_batch(PATIENT, PATIENT))
    rig.wait(lambda: (one.folder / "started").exists() and (other.folder / "started").exists())
    rig.wait_for(engine, [one, other], Sighting.RUNNING)
    rig.end(engine, [one])
    rig.wait(lambda: find_processes(one.folder) == [])
    assert not (one.folder / "out.root").exists()
    assert set(rig.see(engine, [other]).values()) <= UNMOVED
    (other.folder / "go").touch()
    ended(rig, engine, [other])


@over("hold", "singly")
def test_what_is_cancelled_before_it_started_never_runs(rig):
    engine, batch = rig.make_engine(), rig.make_batch(*[OUTPUT] * 12)
    with rig.hold(batch):
        handles = submitted(engine, batch)
        rig.wait_for(engine, handles, Sighting.PENDING)
        engine.cancel(handles[2:11])
        rig.wait_for(engine, handles[2:11], Sighting.ENDED, Sighting.ABSENT)  # Slurm keeps no record of these
        assert set(rig.see(engine, [*handles[:2], handles[11]]).values()) == {Sighting.PENDING}
    ended(rig, engine, [*handles[:2], handles[11]])
    for handle in handles[2:11]:
        assert not (handle.folder / "started").exists()


@over("hold", "forget")
def test_a_whole_batch_that_was_cancelled_before_it_started_is_remembered(rig):
    engine, batch = rig.make_engine(), rig.make_batch(*[OUTPUT] * 30)
    with rig.hold(batch):
        handles = submitted(engine, batch)
        rig.wait_for(engine, handles, Sighting.PENDING)
        engine.cancel(handles)
        rig.wait_for(engine, handles, Sighting.ENDED)
    rig.forget(batch)
    assert {one.sighting for one in rig.wait_for(engine, handles, Sighting.ENDED).values()} == {
        Sighting.ENDED
    }


@over()
def test_cancelling_what_has_ended_or_never_was_changes_nothing(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(OUTPUT))
    ended(rig, engine, handles)
    engine.cancel([*handles, rig.make_unsubmitted()])
    engine.cancel([])
    assert engine.query(handles)[handles[0].name].sighting is Sighting.ENDED
    assert result_of(engine, handles[0])["failure"] is None


@over("foreign")
def test_an_id_that_was_given_to_somebody_else_is_not_ours(rig):
    """Ids wrap: the name decides."""
    engine = rig.make_engine()
    with rig.foreign() as (reference, is_running):
        handle = dataclasses.replace(rig.make_batch(OUTPUT).handles[0], reference=reference)
        assert rig.see(engine, [handle])[handle.name] in {Sighting.ABSENT, Sighting.UNKNOWN}
        engine.cancel([handle])
        time.sleep(0.5)
        assert is_running()


# ── what an engine says of itself and its site ──


@over()
def test_an_engine_describes_itself(rig):
    engine = rig.make_engine()
    assert engine.slots >= 1
    assert engine.width >= 1
    assert isinstance(engine.shared, bool)
    assert isinstance(engine.attached, bool)
    assert engine.visibility >= timedelta(0)
    life = engine.lifetime()
    assert life is None or life > timedelta(0)
    assert rig.make_engine(slots=7).slots == 7


@over()
def test_a_site_in_order_is_not_complained_of(rig):
    assert [one for one in rig.make_engine().examine() if one.fatal] == []


@over("broken_site")
def test_a_site_out_of_order_is_complained_of_with_what_to_do(rig):
    for words, engine in rig.broken_sites():
        complaints = engine.examine()
        assert any(words in one.what and one.remedy for one in complaints), (words, complaints)


@over("unreachable")
def test_a_service_that_does_not_answer_is_a_complaint_and_no_exception(rig):
    with rig.fault("unreachable"):
        complaints = rig.make_engine(seconds=3).examine()
        assert any(one.fatal and one.remedy for one in complaints)


@over("count")
def test_many_are_asked_for_in_few_calls(rig):
    engine = rig.make_engine()
    handles = [handle for _ in range(4) for handle in submitted(engine, rig.make_batch(*[PATIENT] * 5))]
    before = rig.count_calls()
    engine.query(handles)
    assert rig.count_calls() - before == 1, "live jobs are one question"
    for handle in handles:
        (handle.folder / "go").touch()
    rig.wait_for(engine, handles, Sighting.ENDED)
    before = rig.count_calls()
    engine.query(handles)
    engine.find(handles)
    engine.cancel(handles)
    assert rig.count_calls() - before <= 8


@over("lists")
def test_i3_live_jobs_are_listed_by_the_beginning_of_their_names(rig):
    engine, prefix = rig.make_engine(), f"b2p-{time.time_ns() % 10**8:08x}"
    array, single, over = (
        rig.make_batch(*codes, name=f"{prefix}-{name}")
        for name, codes in (("array", [PATIENT] * 3), ("single", [PATIENT]), ("over", [OUTPUT]))
    )
    handles = {name: submitted(engine, batch) for name, batch in (("a", array), ("s", single), ("o", over))}
    rig.wait_for(engine, handles["o"], Sighting.ENDED)
    listed = engine.list_names(f"{prefix}-")
    assert listed.keys() == {array.name, single.name}
    assert all(handle.reference.startswith(listed[array.name]) for handle in handles["a"])
    assert listed[single.name] == handles["s"][0].reference
    assert engine.list_names(f"{prefix}-nothing") == {}
    with rig.fault("query_fails"), pytest.raises(EngineUnavailable):
        engine.list_names(prefix)
    rig.end(engine, [*handles["a"], *handles["s"]])


# ── faults ──


@over_faults("accept_then_fail", "accept_silently")
def test_b18_b19_b26_what_was_taken_without_a_clear_answer_is_uncertain_and_found(rig, fault):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)
    with rig.fault(fault):
        assert [type(answer) for answer in engine.submit(batch)] == [Uncertain, Uncertain]
    ended(rig, engine, settled(rig, engine, batch))


@over("accept_then_hang")
def test_b18_a_submission_that_hangs_after_it_was_taken_is_found(rig):
    engine, batch = rig.make_engine(seconds=2), rig.make_batch(OUTPUT)
    with rig.fault("accept_then_hang"):
        begun = time.monotonic()
        assert [type(answer) for answer in engine.submit(batch)] == [Uncertain]
        assert time.monotonic() - begun < 5
    engine = rig.make_engine()
    ended(rig, engine, settled(rig, engine, batch))


@over_faults("noise_before", "noise_around", "noise_on_the_line")
def test_b20_noise_around_an_id_does_not_hide_or_change_it(rig, fault):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)
    with rig.fault(fault):
        answers = engine.submit(batch)
    handles = settled(rig, engine, batch)
    for answer, handle in zip(answers, handles, strict=True):
        assert isinstance(answer, Uncertain) or answer == Accepted(handle.reference)
    ended(rig, engine, handles)


@over_faults("submit_fails", "submit_refused")
def test_what_was_not_taken_is_never_accepted_and_not_found(rig, fault):
    engine, batch = rig.make_engine(), rig.make_batch(OUTPUT, OUTPUT)
    with rig.fault(fault):
        answers = engine.submit(batch)
        wanted = {Refused} if fault == "submit_refused" else {Refused, Uncertain}
        assert {type(answer) for answer in answers} <= wanted
        assert all(answer.reason for answer in answers)
    assert find(rig, engine, batch.handles) == {handle.name: [] for handle in batch.handles}


@over("unreachable")
def test_nothing_is_known_while_the_service_is_not_reached(rig):
    engine, batch = rig.make_engine(), rig.make_batch(PATIENT)
    handles = submitted(engine, batch)
    with rig.fault("unreachable"):
        assert not isinstance(engine.submit(rig.make_batch(OUTPUT))[0], Accepted)
        with pytest.raises(EngineUnavailable, match=r"\w"):
            engine.query(handles)
        with pytest.raises(EngineUnavailable, match=r"\w"):
            engine.find(batch.handles)
        with pytest.raises(EngineUnavailable, match=r"\w"):
            engine.cancel(handles)
    (handles[0].folder / "go").touch()
    ended(rig, engine, handles)


@over("hang")
@pytest.mark.parametrize("call", CALLS)
def test_no_call_lasts_longer_than_it_may(rig, call):
    engine, batch = rig.make_engine(seconds=2), rig.make_batch(OUTPUT)
    handles = [rig.make_unsubmitted()]
    with rig.fault("hang"):
        begun = time.monotonic()
        if call == "submit":
            assert isinstance(engine.submit(batch)[0], Uncertain)
        else:
            with pytest.raises(EngineUnavailable):
                getattr(engine, call)(handles)
        assert time.monotonic() - begun < 5 < CALL


@over("partial_array")
def test_of_an_array_that_was_cut_each_member_is_found_or_not(rig):
    engine, batch = rig.make_engine(), rig.make_batch(*[OUTPUT] * 4)
    with rig.fault("partial_array"):
        engine.submit(batch)
    found = find(rig, engine, batch.handles)
    assert [len(found[handle.name]) for handle in batch.handles] == [1, 1, 0, 0]


@over("late")
def test_b21_what_is_not_visible_yet_has_not_ended(rig):
    engine, batch = rig.make_engine(), rig.make_batch(PATIENT)
    with rig.fault("late"):
        handles = submitted(engine, batch)
        assert Sighting.ENDED not in rig.see(engine, handles).values()
        assert engine.visibility > timedelta(seconds=5)
    assert settled(rig, engine, batch) == handles
    (handles[0].folder / "go").touch()
    ended(rig, engine, handles)


@over_faults("query_fails", "queue_fails", "accounting_fails", "query_empty", "query_cut", "query_noise")
@pytest.mark.parametrize("state", ["running", "ended"])
def test_b24_no_error_of_a_query_moves_an_attempt(rig, fault, state):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(*[PATIENT if state == "running" else OUTPUT] * 2))
    rig.wait_for(engine, handles, Sighting.RUNNING if state == "running" else Sighting.ENDED)
    rig.wait(lambda: fault != "query_empty" or rig.is_remembered(handles))
    with rig.fault(fault):
        seen = set(rig.see(engine, handles).values())
        allowed = {Sighting.ENDED, Sighting.UNKNOWN} if state == "ended" else UNMOVED
        assert seen <= allowed, seen
        try:
            found = engine.find(handles)
        except EngineUnavailable:
            pass
        else:
            assert found == {one.name: [one.reference] for one in handles}
    for handle in handles:
        (handle.folder / "go").touch()
    ended(rig, engine, handles)


@over("cancel_fails")
def test_a_cancellation_that_cannot_be_asked_for_says_so(rig):
    engine = rig.make_engine()
    handles = submitted(engine, rig.make_batch(PATIENT))
    rig.wait_for(engine, handles, Sighting.RUNNING)
    with rig.fault("cancel_fails"), pytest.raises(EngineUnavailable, match=r"\w"):
        engine.cancel(handles)
    assert set(rig.see(engine, handles).values()) <= UNMOVED
    (handles[0].folder / "go").touch()
    ended(rig, engine, handles)


@over("restart")
def test_b11_jobs_outlive_a_restart_of_the_service(rig):
    engine, batch = rig.make_engine(), rig.make_batch(PATIENT, PATIENT, OUTPUT)
    handles = submitted(engine, batch)
    rig.wait(lambda: all((one.folder / "started").exists() for one in handles))

    def meanwhile():
        assert Sighting.ABSENT not in rig.see(engine, handles).values()
        with pytest.raises(EngineUnavailable):
            engine.find(batch.handles)
        (handles[0].folder / "go").touch()
        rig.wait((handles[0].folder / "result.json").exists)

    rig.restart(meanwhile)
    rig.wait_for(engine, handles[:1], Sighting.ENDED)
    assert set(rig.see(engine, handles[1:2]).values()) <= UNMOVED
    (handles[1].folder / "go").touch()
    ended(rig, engine, handles)
    assert settled(rig, engine, batch) == handles
