"""Between disk and tape: what is archived is read back, what is released was read back before, and what jobs read comes back."""

from __future__ import annotations

import re

import pytest

from ci.cli.exits import Exit
from ci.command_line import run as call
from reconciler.datasets.operations.protecting import ProtectionWriter
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.clock import CLOCK
from reconciler.planning.operations.reading import add_operations
from reconciler.planning.views import read_state_view
from renderer.steering import load_templates
from tests.support.worlds.builders import swap
from tests.support.worlds.taped_world import SAMPLED, TapedWorld
from tests.support.worlds.worlds import CAMPAIGN, ONE_STEP, WHO

DONE = [
    ("archive", "proc7/reco/mdst", "done"),
    ("archive", "proc8/reco/mdst", "done"),
]


def test_everything_is_archived_and_only_the_superseded_leaves_the_disk(tmp_path):
    world = TapedWorld(tmp_path)
    before = world.published()
    world.turn()
    assert world.operations() == DONE
    assert len(world.on_tape()) == 4
    assert world.copies("proc7") == world.copies("proc8") == {("tape", True)}
    assert world.published() == before, "proc8 is not validated"
    assert world.state_view().plan.is_empty
    world.validate()
    world.turn()
    assert world.operations()[2:] == [("release", "proc7/reco/mdst", "done")]
    assert world.on_disk("proc7") == []
    assert len(world.on_disk("proc8")) == 2
    assert world.copies("proc7") == {("tape", True), ("disk", False)}
    calls = len(world.calls("archive"))
    world.turn()
    assert len(world.operations()) == 3
    assert len(world.calls("archive")) == calls


def test_the_last_two_stay_on_disk_and_half_of_a_third_evicts_nothing(tmp_path):
    world = TapedWorld(tmp_path, "{site: local, disk: 2, tape: rest, after_days: 0}")
    third = swap(ONE_STEP, ("runs:\n", "supersedes: [proc8]\nreuse: never\nruns:\n"), ('"1-2"', '"1"'))
    world.write("productions/campaigns/proc9/campaign.yaml", third)
    world.lock()
    world.validate("proc8/reco/mdst")
    for _ in range(2):
        world.turn()
    assert world.operations() == [], "proc9 is made, and nobody has validated it"
    world.validate("proc9/reco/mdst")
    for _ in range(3):
        world.turn()
    assert [(kind, name) for kind, name, _ in world.operations()] == [
        ("archive", "proc7/reco/mdst"),
        ("release", "proc7/reco/mdst"),
    ]
    (left,) = world.on_disk("proc7")
    assert "r00002" in left, "proc9 lacks this run"
    assert (len(world.on_disk("proc8")), len(world.on_disk("proc9"))) == (2, 1)


@pytest.mark.parametrize("said", ["fail", "inconclusive"])
def test_a_successor_that_is_not_validated_releases_nothing(tmp_path, said):
    world = TapedWorld(tmp_path)
    world.turn()
    world.validate(said=said)
    world.turn()
    assert len(world.on_disk("proc7")) == 2


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ({"archive": "fail"}, "the tape system is away"),
        ({"archive": "silent"}, ""),
        ({"archive": "lie"}, "the checksum command says nothing"),
        ({"archive": "damage"}, "the copy on tape of"),
        ({"archive": "lost"}, "is lost, says the site's archive command"),
        ({"archive": "slow"}, ""),
        ({"checksum": "fail"}, "the tape system is away"),
        ({"checksum": "silent"}, "the checksum command says nothing"),
        ({"archive": "lie", "checksum": "lie"}, "the copy on tape of"),
    ],
)
def test_what_is_not_read_back_is_never_on_tape(tmp_path, behaviour, told):
    world = TapedWorld(tmp_path)
    world.validate()
    world.tape(**behaviour)
    outcome = world.turn()
    assert world.copies("proc7") == set()
    assert len(world.on_disk("proc7")) == 2
    assert told in repr(outcome)
    world.turn()
    assert len(world.on_disk("proc7")) == 2 or behaviour == {"archive": "slow"}
    if (
        not any(how in ("damage", "lost") for how in behaviour.values())
        and behaviour.get("checksum") != "lie"
    ):
        world.tape()  # it was no fault of the files: the next turn goes on
        world.turn()
        world.turn()
        assert world.copies("proc7") == {("tape", True), ("disk", False)}
        assert world.on_disk("proc7") == []


def test_what_was_refused_is_told_and_not_tried_again_at_once(tmp_path):
    world = TapedWorld(tmp_path)
    world.tape(archive="damage")
    world.turn()
    assert {state for state, _ in world.items()} == {"refused"}
    calls = len(world.calls("archive"))
    outcome = world.turn()
    assert len(world.calls("archive")) == calls
    assert not outcome.failed


@pytest.mark.parametrize("behaviour", ["", "slow", "damage", "lie", "fail"])
def test_a_sample_is_read_back_where_there_is_no_checksum_command(tmp_path, behaviour):
    world = TapedWorld(tmp_path, SAMPLED, checksum=False)
    world.validate()
    world.tape(recall=behaviour)
    for _ in range(3):
        world.turn()
    good = behaviour in ("", "slow")
    assert (world.on_disk("proc7") == []) is good
    assert (world.copies("proc7") == {("tape", True), ("disk", False)}) is good
    assert len({words[0] for words in world.calls("recall")}) == 2, (
        "one percent of two files, of two datasets"
    )
    if behaviour != "lie":
        assert not [*(world.state.storage("data") / ".b2prod-recall").rglob("*.root")]


def test_a_damaged_sample_refuses_the_whole(tmp_path):
    world = TapedWorld(tmp_path, SAMPLED, checksum=False)
    world.tape(archive="damage")
    world.turn()
    assert {state for state, _ in world.items()} == {"refused"}
    assert "of the sample that was read back" in world.items()[0][1]


def test_what_jobs_read_comes_back_first(tmp_path):
    world = TapedWorld(tmp_path)
    world.validate()
    world.turn()
    world.turn()
    assert world.on_disk("proc7") == []
    published = {name: one for name, one in world.published().items() if name.startswith("proc8")}
    thin = CAMPAIGN[CAMPAIGN.index("  thin:") :].replace(
        "{step: reco, level: mdst}", "{dataset: proc7/reco/mdst}"
    )
    world.write("productions/campaigns/again/campaign.yaml", CAMPAIGN[: CAMPAIGN.index("  reco:")] + thin)
    world.lock()
    world.tape(recall="slow")
    outcome = world.turn()
    assert outcome.staging == 2
    assert not outcome.produced
    assert ("recall", "proc7/reco/mdst", "intended") in world.operations()
    for _ in range(3):
        outcome = world.turn()
    assert [name for name, *_ in world.produced()].count("again") == 2
    assert ("recall", "proc7/reco/mdst", "done") in world.operations()
    assert len(world.on_disk("proc7")) == 2, "a live campaign reads it"
    assert published.items() <= world.published().items()


@pytest.mark.parametrize("behaviour", ["fail", "silent", "lie", "damage", "lost"])
def test_what_does_not_come_back_as_it_was_is_not_used(tmp_path, behaviour):
    world = TapedWorld(tmp_path)
    world.validate()
    world.turn()
    world.turn()
    thin = CAMPAIGN[CAMPAIGN.index("  thin:") :].replace(
        "{step: reco, level: mdst}", "{dataset: proc7/reco/mdst}"
    )
    world.write("productions/campaigns/again/campaign.yaml", CAMPAIGN[: CAMPAIGN.index("  reco:")] + thin)
    world.lock()
    world.tape(recall=behaviour)
    for _ in range(2):
        assert world.turn().submitted == 0
    assert world.on_disk("proc7") == []
    assert not [*(world.state.storage("data") / ".b2prod-recall").rglob("*.root")]


def test_show_and_explain_tell_where_copies_lie_and_nothing_is_taken_for_lost(tmp_path, capsys):
    world = TapedWorld(tmp_path)
    world.validate()
    world.turn()
    world.turn()
    assert world.on_disk("proc7") == []
    own, world.templates = world.templates, load_templates()
    assert call(["--root", str(tmp_path), "dataset", "show", "proc7/reco/mdst"]) == Exit.FINE
    told = capsys.readouterr().out
    assert re.search(r"copies +disk: 0 outputs\n", told), told
    assert re.search(r"copies +tape: 2 outputs, read back since 2", told), told
    assert call(["--root", str(tmp_path), "dataset", "files", "proc7/reco/mdst", "--paths"]) == Exit.PARTLY
    told = capsys.readouterr()
    assert told.out == ""
    assert "2 files of 3:1-2: its v1 lies on tape alone" in told.err
    assert call(["--root", str(tmp_path), "explain", "proc7/reco/3:1"]) == Exit.FINE
    told = capsys.readouterr().out
    assert "    not on disk, seen 2" in told
    assert "    on tape, seen 2" in told
    world.templates = own
    world.change(("state: stopped\n", ""))  # it is live again, and the storage is looked at
    assert world.groups(refresh=True) == []


def test_the_plan_shows_what_goes_where_and_why(tmp_path):
    world = TapedWorld(tmp_path)

    def planned():
        with reading(world.state) as connection:
            view = read_state_view(connection, world.repository(), world.names, world.state)
            made = add_operations(connection, world.repository(), world.state, view, CLOCK.show()).plan
        return [
            (one.kind, one.subject, one.outputs, one.files, one.standing, one.reason)
            for one in made.operations
        ]

    kept = "the retention keeps copies on tape of all outputs"
    assert planned() == [
        ("archive", "proc7/reco/mdst", 2, 2, "ready", kept),
        ("archive", "proc8/reco/mdst", 2, 2, "ready", kept),
    ]
    world.turn()
    assert planned() == []
    world.validate()
    why = "the retention keeps 1 of its chain on disk, and newer ones are validated"
    assert planned() == [("release", "proc7/reco/mdst", 2, 2, "ready", why)]
    with opened(world.state) as engine:
        ProtectionWriter(Writer(engine, None), WHO).protect("proc7/reco/mdst", "2099-12-31", "for a thesis")
    assert planned() == [("release", "proc7/reco/mdst", 2, 2, "refused", why)]
    world.turn()
    assert len(world.on_disk("proc7")) == 2
