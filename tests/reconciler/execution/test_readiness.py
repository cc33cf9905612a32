"""Batches wait for what a site needs first: a credential, space, its hours, input that is on tape."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from reconciler.engines.local.engine import LocalEngine
from reconciler.execution.launch.staging import read_states
from reconciler.execution.sites import readiness
from reconciler.execution.sites.preconditions import Volume
from reconciler.ledger.schema.decision_tables import pauses
from reconciler.ledger.schema.tables import files, inputs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.model.engine import EngineUnavailable
from reconciler.model.states import PauseKind
from reconciler.monitoring.health import judge_campaign
from tests.support.worlds.worlds import ONE_STEP, World

PRESTAGE = """\
import json, pathlib, sys
here = pathlib.Path(sys.argv[1])
with (here / "asked").open("a") as asked:
    asked.write(json.dumps(sys.argv[2:]) + "\\n")
print("this HSM is operated by somebody")
states = json.loads((here / "states").read_text())
for path in sys.argv[2:]:
    print(states.get(pathlib.Path(path).name, "staging"), path)
sys.exit(states.get("status", 0))
"""


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, ('"1-2"', '"1-3"'), campaign=ONE_STEP, files=(1, 1, 1))


def going(world):
    with reading(world.state) as connection:
        return [
            (pause.scope, pause.reason)
            for pause in read_pauses(connection)
            if pause.kind == PauseKind.PRECONDITION
        ]


def conditions(world):
    (view,) = world.state_view().views
    with reading(world.state) as connection:
        found = judge_campaign(connection, view, read_pauses(connection), datetime.now(UTC))
        return [(one.kind, one.reason) for one in found]


def change_site(world, text):
    file = world.root / "productions/sites/local.yaml"
    kept = "".join(line for line in file.read_text().splitlines(keepends=True) if "# here" not in line)
    file.write_text(kept + "".join(f"{line}  # here\n" for line in text.splitlines()))


def test_a_batch_waits_for_a_credential_that_outlives_it_and_goes_on_by_itself(world, monkeypatch):
    life = [timedelta(hours=1)]
    monkeypatch.setattr(LocalEngine, "lifetime", lambda self: life[0])
    change_site(world, "contact: prod@example.org")
    assert world.reconcile().submitted == 0
    assert world.attempts() == {}
    ((scope, reason),) = going(world)
    assert scope == "site:local"
    assert reason.startswith("the credential ends at ")
    assert reason.endswith("prod@example.org: renew the credential")
    assert [kind for kind, _ in conditions(world)] == ["Blocked"]
    world.reconcile()
    assert len(world.rows(pauses, "id")) == 1, "what is so already is not written again"
    life[0] = timedelta(days=7)
    assert world.reconcile().produced == 3
    assert going(world) == []


def test_what_the_engine_cannot_tell_is_waited_for(world, monkeypatch):
    def refuse(self):
        raise EngineUnavailable("gb2_proxy_info says nothing")

    monkeypatch.setattr(LocalEngine, "lifetime", refuse)
    world.reconcile()
    ((_, reason),) = going(world)
    assert "cannot be told: gb2_proxy_info says nothing" in reason


def test_a_credential_that_runs_out_in_the_middle_stops_the_next_batch(world, monkeypatch):
    asked = []
    monkeypatch.setattr(readiness, "FRESH", 0.0)
    monkeypatch.setattr(
        LocalEngine, "lifetime", lambda self: asked.append(1) or timedelta(hours=99 if len(asked) < 3 else 1)
    )
    site = world.root / "productions/sites/local.yaml"
    site.write_text(site.read_text().replace("slots: 4", "slots: 1"))
    outcome = world.reconcile()
    assert 0 < outcome.submitted < 3
    assert len(going(world)) == 1
    monkeypatch.undo()
    world.reconcile()
    assert len(world.produced()) == 3


def test_a_persons_pause_is_not_ended_by_it(world, monkeypatch):
    from reconciler.ledger.writing.operator_actions import OperatorActions
    from reconciler.ledger.writing.transaction import Writer

    with opened(world.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").pause("site:local", "maintenance")
    monkeypatch.setattr(LocalEngine, "lifetime", lambda self: timedelta(0))
    world.reconcile()
    monkeypatch.undo()
    world.reconcile()
    assert going(world) == []
    assert world.produced() == []


def test_space_and_hours_are_looked_at_before_every_batch(world, monkeypatch):
    monkeypatch.setattr(readiness, "measure", lambda folder: Volume(str(folder), 10**6))
    world.reconcile()
    assert "are free at" in going(world)[0][1]
    monkeypatch.undo()
    now = datetime.now(UTC)
    change_site(
        world,
        f'windows: [{{from: "{now + timedelta(hours=2):%H:%M}", to: "{now + timedelta(hours=3):%H:%M}"}}]',
    )
    world.reconcile()
    assert "local takes jobs at" in going(world)[0][1]
    assert world.attempts() == {}


# ── tape ──


class Tape:
    """The site's prestage command, which says what `states` has for a file, else that it is being staged."""

    def __init__(self, world, **limits):
        self.world = world
        self.folder = world.root / "hsm"
        self.folder.mkdir()
        program = self.folder / "prestage.py"
        program.write_text(PRESTAGE)
        command = [sys.executable, "-IS", str(program), str(self.folder)]
        change_site(world, f"prestage: {json.dumps({'command': command, **limits})}")
        self.say()
        with opened(world.state) as engine, engine.begin() as connection:
            connection.execute(update(files).values(storage="tape"))
            connection.execute(update(inputs).values(on_disk=0))

    def say(self, **states):
        (self.folder / "states").write_text(json.dumps(states))

    @property
    def asked(self):
        file = self.folder / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [[path.rpartition("/")[2] for path in json.loads(line)] for line in lines]

    def storages(self):
        with reading(self.world.state) as connection:
            return list(connection.execute(select(files.c.storage).order_by(files.c.run)).scalars())


RAW = [f"raw.{run}.0.root" for run in (1, 2, 3)]


def test_units_wait_for_their_input_and_begin_as_it_comes(world):
    tape = Tape(world)
    outcome = world.reconcile()
    assert (outcome.staging, outcome.submitted) == (3, 0)
    assert tape.asked == [RAW]
    assert tape.storages() == ["staging"] * 3
    assert ("Waiting", "reco: the input of 3 units is on tape, 0 of 3 files are on disk") in conditions(world)
    before = world.store()["ledger"]
    tape.say(**{RAW[1]: "disk"})
    outcome = world.reconcile()
    assert (outcome.staging, outcome.produced) == (2, 1)
    assert [run for _, _, run, _, _ in world.produced()] == [2]
    assert world.store()["ledger"]["catalogue_serial"] == before["catalogue_serial"]
    tape.say(**dict.fromkeys(RAW, "disk"))
    assert world.reconcile().produced == 2
    assert not [kind for kind, _ in conditions(world) if kind == "Waiting"]


def test_requests_are_in_bulk_and_limited(world):
    tape = Tape(world, batch=1, in_flight=2)
    world.reconcile()
    assert tape.asked == [RAW[:1], RAW[1:2]]
    world.reconcile()
    assert tape.asked[2:] == [RAW[:1], RAW[1:2]], "what is being staged counts against the limit"
    assert tape.storages() == ["staging", "staging", "tape"]


def test_a_lost_file_is_told_and_does_not_stop_the_others(world):
    tape = Tape(world)
    tape.say(**{RAW[0]: "lost", RAW[1]: "disk", RAW[2]: "disk"})
    outcome = world.reconcile()
    assert outcome.produced == 2
    ((unit, reason),) = outcome.failed
    assert unit == "proc7/reco/3:1"
    assert reason.endswith("raw.1.0.root is lost, says the site's prestage command")


@pytest.mark.parametrize("status", [1, 255])
def test_a_command_that_fails_moves_nothing(world, status):
    tape = Tape(world)
    tape.say(status=status, **dict.fromkeys(RAW, "disk"))
    assert world.reconcile().staging == 3
    assert tape.storages() == ["tape"] * 3


def test_without_a_command_tapes_are_the_systems_own_affair(world):
    Tape(world)
    change_site(world, "")
    assert world.reconcile().produced == 3


def test_only_what_was_asked_for_is_believed():
    text = "disk /a/b.root\nDISK /a/c.root\ndisk /etc/passwd\n  staging   /a/d e.root\nno such file\n\n"
    assert read_states(text, ["/a/b.root", "/a/c.root", "/a/d e.root"]) == {
        "/a/b.root": "disk",
        "/a/d e.root": "staging",
    }
