"""A canary that waits for a verdict, on real skims: a degradation is stopped before the full run, and a mended campaign follows."""

from __future__ import annotations

import io
import json
import shutil

import pytest

from ci.approvals.gate import Gate
from ci.changes.project import Project, load_sound
from ci.cli.exits import Exit
from ci.verbs.approvals import statements
from reconciler.execution import canaries
from reconciler.execution.apply import reconcile
from reconciler.execution.launch.canary_verdict import CanaryMemory
from reconciler.execution.plan_memory import PlanMemory
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.reading.comparisons import read_comparison
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.writing.pauses import PauseWriter, read_pauses
from reconciler.ledger.writing.units import Ledger
from schemas.policy.policy import REVOKED, ROLES, SIGNERS
from tests.support.inputs.keys import PERSON, write_roles
from tests.support.worlds.processes import run_forked
from tests.support.worlds.reconciler_kills import KILLED, die_at
from tests.support.worlds.skim_checkout import CAMPAIGN, Checkout
from tests.support.worlds.worlds import pin_checkout

CRITERIA = """\
schema: validation/1
title: For a canary of one run
checks:
  run_retention: {level: 0.001, warn: 0.1, fail: 0.3, min_runs: 1, min_events: 50}
"""
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= CUT]"}
"""
FINE, WEAK, BROKEN = "3", "4", "5"
"""Cuts: that of the reference; one that loses a quarter, and warns; one that loses half, and fails."""

CANARY = 'canary: {runs: "7:2", then: verdict, by: canary, against: seven}\nlimits:'
EIGHT = "productions/campaigns/eight/campaign.yaml"
EXEMPT = """\
  retirements: [data-owner]
  exemptions:
    - {site: local, engine: local, area: data, nobody: true, reason: a test}
"""


class Reprocessing(Checkout):
    """`seven` is made and stopped; `eight` makes the same skim again, after a canary of the run 7:2."""

    def __init__(self, root, circle):
        menu = MENU.replace("CUT", FINE)
        super().__init__(root, menu=menu, size=400, tracks=lambda _, events: events % 7)
        roles = write_roles(("  retirements: [data-owner]\n", EXEMPT))
        for file, text in {
            **circle.root(roles=roles),
            "productions/validations/canary.yaml": CRITERIA,
        }.items():
            self.write(file, text)
        assert {ROLES, SIGNERS, REVOKED} <= set(circle.root())
        assert self.b2prod("resolve", "seven") == Exit.FINE
        pin_checkout(root, self.ledger)
        assert self.b2prod("reconcile", "--once") == Exit.FINE
        self.declare("many")
        file = root / "productions/campaigns/seven/campaign.yaml"
        file.write_text(file.read_text().replace("kind: skim", "kind: skim\nstate: stopped"))
        self.write(EIGHT, CAMPAIGN.replace("limits:", f"reuse: never\ncompare_with: seven\n{CANARY}"))

    @property
    def ledger(self) -> State:
        return State(self.root / ".b2prod")

    def cut(self, cut):
        self.write("productions/skims/menu.yaml", MENU.replace("CUT", cut))
        assert self.b2prod("resolve", "eight") == Exit.FINE

    def turn(self):
        return self.b2prod("reconcile", "--once", "eight")

    @property
    def made(self) -> list[str]:
        """The runs of `eight` that have an output, in all versions."""
        return sorted(
            path.stem for path in (self.root / ".b2prod/data").rglob("*.root") if "eight" in str(path)
        )

    @property
    def pauses(self) -> list[str]:
        with reading(self.ledger) as connection:
            return [one.reason for one in read_pauses(connection)]


@pytest.fixture(scope="module")
def begun(tmp_path_factory, circle):
    return Reprocessing(tmp_path_factory.mktemp("begun"), circle)


@pytest.fixture
def world(begun, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(begun.root, kept)
    yield begun
    shutil.rmtree(begun.root)
    shutil.copytree(kept, begun.root)


@pytest.fixture
def call(world, capsys, monkeypatch):
    def called(*words, typed=""):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = world.b2prod(*words)
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return code, told.out, told.err

    return called


def sign(call, circle, role="validation", reason="a cut that was asked for, BIIDP-1300"):
    key = circle.key(PERSON[role]).file
    return call("approve", "--canary", "eight", "--key", key, "--reason", reason, typed="eight\n")


def test_a_canary_that_passes_lets_the_rest_follow(world):
    world.cut(FINE)
    world.turn()
    assert len(world.made) == 1
    assert world.turn() == Exit.FINE
    assert len(world.made) == 3
    assert world.pauses == []


def test_a_degradation_is_stopped_before_the_full_run_and_a_mended_campaign_follows(world, call, circle):
    world.cut(BROKEN)
    for _ in range(3):
        world.turn()
    assert len(world.made) == 1, "nothing but the canary"
    (reason,) = world.pauses
    assert "its canary of 1 runs failed: eight/skims/many, run_retention" in reason
    code, _, told = call("plan", "eight")
    assert code == Exit.FINE
    assert "eight: its new units do not begin yet, campaign:eight is paused since" in " ".join(told.split())
    assert reason in " ".join(told.split()), "a plan names the canary that holds them"
    digest = reason.split("b2prod compare ")[1].split("`")[0]
    with reading(world.ledger) as connection:
        kept = json.loads(read_comparison(connection, digest))
    assert kept["verdict"] == "fail"
    assert kept["against"]["dataset"] == "seven/skims/many"
    code, shown, _ = sign(call, circle)
    assert code == Exit.FINE
    assert "FAIL  eight/skims/many against seven/skims/many, on 7:2" in shown
    world.turn()
    assert len(world.made) == 1, "a signature opens no failure"
    code, _, told = call("resume", "campaign:eight", "--reason", "it looks good")
    assert code == Exit.REFUSED
    assert "b2prod approve --canary eight" in told
    world.cut(FINE)
    for _ in range(3):
        world.turn()
    assert len(world.made) == 4, "the canary in two versions, and the rest"
    assert world.pauses == []


def test_a_warning_waits_for_a_signature_which_other_evidence_makes_void(world, call, circle):
    world.cut(WEAK)
    world.turn()
    world.turn()
    (reason,) = world.pauses
    assert "waits for a signature of validation: `b2prod approve --canary eight --reason" in reason
    assert len(world.made) == 1
    code, table, _ = call("approvals", "--canary", "eight")
    assert code == Exit.REFUSED
    assert "canary eight: NOT signed" in table
    key = circle.key(PERSON["validation"]).file
    code, _, told = call("approve", "--canary", "eight", "--key", key, typed="eight\n")
    assert code == Exit.USAGE
    assert "--reason" in told
    code, _, told = sign(call, circle, "release")
    assert code == Exit.USAGE
    assert "release-manager@example.org has none of them" in told
    code, shown, told = sign(call, circle)
    assert code == Exit.FINE, told
    assert "WARN  eight/skims/many against seven/skims/many" in shown
    assert call("approvals", "--canary", "eight")[0] == Exit.FINE
    world.cut("3.5")  # other data of the canary, with the same counts: other evidence
    world.turn()
    world.turn()
    (reason,) = world.pauses
    assert "the evidence has changed since" in reason
    code, table, _ = call("approvals", "--canary", "eight")
    assert code == Exit.REFUSED
    assert "the evidence has changed since" in table
    assert sign(call, circle)[0] == Exit.FINE
    assert world.turn() == Exit.FINE
    assert len(world.made) == 4
    assert world.pauses == []


def test_what_cannot_be_compared_waits_and_says_what_is_missing(world, call):
    world.write("productions/validations/canary.yaml", CRITERIA.replace("min_runs: 1", "min_runs: 2"))
    pin_checkout(world.root, world.ledger)
    world.cut(FINE)
    world.turn()
    world.turn()
    (reason,) = world.pauses
    assert "is inconclusive" in reason
    (world.root / "productions/validations/canary.yaml").unlink()
    pin_checkout(world.root, world.ledger)
    world.write("productions/validations/canary.yaml", CRITERIA)
    world.turn()
    (reason,) = world.pauses
    assert "the pinned trust root has no criteria canary" in reason
    assert len(world.made) == 1
    assert call("resume", "campaign:eight", "--reason", "x")[0] == Exit.REFUSED


def test_a_quiet_turn_of_a_watching_process_compares_nothing_again(world):
    world.cut(WEAK)
    world.turn()
    project = Project(world.root, world.ledger)
    repository = load_sound(project, ["eight"])
    memory, plans, seen = CanaryMemory(), PlanMemory(), []
    for _ in range(3):
        options = TurnOptions(Gate(project, repository), canaries=memory)
        outcome = reconcile(world.ledger, repository, ["eight"], lambda _: None, options, memory=plans)
        assert outcome.produced == 0
        seen.append(memory._kept["eight"])
    assert seen[0] is seen[1] is seen[2]


POINTS = {
    "compared, not kept": (canaries, "keep_comparison", "before"),
    "kept, not told": (canaries, "keep_comparison", "after"),
    "not told": (PauseWriter, "pause", "before"),
    "told": (PauseWriter, "pause", "after"),
    "told, not stopped": (PauseWriter, "resume", "before"),
    "open, nothing begun": (PauseWriter, "resume", "after"),
    "begun": (Ledger, "intend", "after"),
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_turn_that_is_killed_while_it_judges_a_canary_opens_and_forgets_nothing(world, call, circle, point):
    owner, name, when = POINTS[point]

    def doomed():
        die_at(owner, name, after=when == "after")
        world.turn()

    world.cut(WEAK)
    world.turn()
    if name in ("resume", "intend"):  # when it opens
        world.turn()
        sign(call, circle)
        assert run_forked(doomed) == KILLED
    else:
        assert run_forked(doomed) == KILLED
        assert len(world.made) == 1
        world.turn()
        assert len(world.pauses) == 1
        sign(call, circle)
    assert world.turn() == Exit.FINE
    assert len(world.made) == 3
    assert world.pauses == []


@pytest.mark.slow
def test_who_is_killed_while_signing_signs_again(world, call, circle):
    world.cut(WEAK)
    world.turn()
    world.turn()

    def doomed():
        die_at(statements, "sign", after=True)
        sign(call, circle)

    assert run_forked(doomed) == KILLED
    assert call("approvals", "--canary", "eight")[0] == Exit.REFUSED
    assert sign(call, circle)[0] == Exit.FINE
    (statement,) = (world.root / "productions/campaigns/eight/approvals/canary").rglob("*.json")
    signature = statement.with_name(f"{statement.name}.sig")
    kept = signature.read_bytes()
    signature.unlink()
    code, table, _ = call("approvals", "--canary", "eight")
    assert code == Exit.REFUSED
    assert "it is not signed" in table
    signature.write_bytes(kept)
    assert call("approvals", "--canary", "eight")[0] == Exit.FINE


def test_a_campaign_without_such_a_canary_has_nothing_to_sign(world, call):
    world.cut(FINE)
    code, _, told = call("approvals", "--canary", "eight")
    assert code == Exit.USAGE
    assert "is not complete" in told
    code, _, told = call("approvals", "eight", "--canary", "eight")
    assert code == Exit.USAGE
    assert "exactly one" in told
