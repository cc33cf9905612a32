"""A small storage whose outputs are retired: a ledger, files, references that come and go, people who sign, and attackers.

`RetiredStorage` acts. `check` asserts what must hold at every moment: nothing outside of the storage is touched, no file goes
that a reference needs or that nobody signed for, and the ledger says truly where each output is.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.pool import StaticPool

from reconciler.datasets.operations.protecting import ProtectionWriter
from reconciler.datasets.operations.records import OperationWriter
from reconciler.execution.operating.operator import Operator
from reconciler.execution.operating.restoring import list_restorable, restore
from reconciler.execution.outcome import Outcome
from reconciler.ledger.schema.operation_tables import operation_items, operations
from reconciler.ledger.schema.tables import (
    attempts,
    batches,
    intents,
    jobs,
    metadata,
    outputs,
    plans,
    products,
    recipes,
)
from reconciler.ledger.store.schema_versions import record_upgrade
from reconciler.ledger.store.state import State
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.ledger.writing.dataset_sums import record_made
from reconciler.ledger.writing.produced_keys import record_keys
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.names import TOMBSTONES, TRASH, name_aside, name_record
from reconciler.model.operations import Operation, OperationKind, OperationState
from reconciler.model.plan import Plan
from reconciler.outside.clock import Clock
from reconciler.outside.errors import GuardRefused
from reconciler.outside.storage.storage_tree import StorageTree
from reconciler.planning.operations.reading import OperationReader
from reconciler.planning.operations.references import find_changed
from reconciler.planning.operations.retired_outputs import read_retired
from reconciler.planning.views import StateView
from schemas.repository import Repository
from tests.support.worlds.builders import CAMPAIGN, read, swap, tree

FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
BEGIN = datetime(2019, 3, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
SECRET = "somebody else's"
RETIREMENT = """\
schema: retirement/1
title: An old pass
datasets: [{campaign: old}]
reason: superseded
successor: none
quarantine_days: 30
"""


class Killed(BaseException):
    """The process ends here."""


@cache
def read_variant(*, reading: bool, taking: bool, reason: str) -> Repository:
    """`old` is stopped and retired; `reader` reads it where it is live, and `taker` declares what `old` made of run 1."""
    stopped = ("title:", "state: stopped\ntitle:")
    plain = swap(CAMPAIGN, ("kind: reprocessing", "kind: calibration"))
    reader = swap(plain, ("input: {level: raw}", "input: {dataset: old/reco/mdst}"))
    files = {
        "campaign": None,
        "productions/campaigns/old/campaign.yaml": swap(plain, stopped),
        "productions/campaigns/reader/campaign.yaml": reader if reading else swap(reader, stopped),
        "productions/campaigns/taker/campaign.yaml": swap(plain, stopped),
        "productions/retirements/first.yaml": swap(RETIREMENT, ("superseded", reason)),
    }
    repository, findings = read(tree(**files))
    assert not findings, findings
    if not taking:
        return repository
    locked = replace(repository.campaigns["taker"], lock=SimpleNamespace())
    return replace(repository, campaigns={**repository.campaigns, "taker": locked})


class WatchedTree(StorageTree):
    """A storage that tells the world of each effect, before and after it, and lies where the world says so."""

    def __init__(self, root: str, world: RetiredStorage) -> None:
        super().__init__(root)
        self._world = world

    def rename(self, source: str, target: str, seen: Any) -> None:
        self._world.step()
        super().rename(source, target, seen)
        self._world.step()

    def remove(self, path: str, seen: Any) -> None:
        self._world.step()
        self._world.judge_removal(path)
        super().remove(path, seen)
        self._world.step()

    def list_names(self, folder: int) -> list[str]:
        return [*super().list_names(folder), *self._world.phantoms]


class Signing:
    """Who signed which actions; everything else is refused."""

    def __init__(self) -> None:
        self.digests: set[str] = set()

    def verify_operation(self, operation: Operation) -> str:
        if operation.signed and operation.digest not in self.digests:
            raise GuardRefused(f"nobody signed {operation.digest[:12]}")
        return "1" * 64


class Anywhere:
    """Places of which each storage is the ledger's."""

    def check_storage(self, storage: str) -> None:
        assert storage.endswith("/data")


_FILLED: list[bytes] = []
"""The database of a new world, once it was made."""


@cache
def make_memory() -> Engine:
    """A database in memory, for all worlds of this process."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", lambda one, _: one.execute("PRAGMA foreign_keys = ON"))
    return engine


def fill_run(
    connection: Connection, run: int, storage: str, folder: str, names: Sequence[str], time: str
) -> None:
    """The rows of one run that was made: plan, recipe and batch with the first one; the output's number is that of the run."""
    if run == 1:
        connection.execute(insert(plans).values(digest="p" * 64, content=b"{}", serial=0, begun=time))
        connection.execute(insert(recipes).values(id=1, digest="r" * 64, content=b"{}"))
        connection.execute(insert(batches).values(id=1, name="b", site="local"))
    unit = {"campaign": "old", "step": "reco", "experiment": 3, "run": run}
    connection.execute(insert(intents).values(id=run, plan="p" * 64, state="produced", **unit))
    connection.execute(insert(jobs).values(id=run, intent=run, key=f"k{run}", failures=0))
    ended = {"begun": time, "ended": time, "batch": 1, "place": 0, "fence": 0, "absences": 0}
    named = {"id": run, "job": run, "number": 1, "name": f"a{run}", "nonce": "n", "site": "local"}
    connection.execute(insert(attempts).values(**named, **ended, state="verified"))
    made = {"output": "mdst", "fingerprint": run.to_bytes(32, "big"), "recipe": 1, "input": "i", "version": 1}
    place = {"storage": storage, "folder": folder, "produced": time}
    connection.execute(insert(outputs).values(id=run, intent=run, state="produced", **unit, **made, **place))
    for number, name in enumerate(names):
        file = {"path": name, "size": len(f"run {run} file {number}"), "checksum": "sha256:0"}
        connection.execute(insert(products).values(output=run, attempt=run, **file))


class RetiredStorage:
    """`runs` outputs of `old`, with two files each, and one of `taker` with the fingerprint of run 1."""

    def __init__(self, engine: Engine | None = None, runs: int = 3) -> None:
        # one folder and one database for all histories of a process: to make tables and to compile queries takes most of the time
        self.folder = Path(FAST or tempfile.gettempdir(), f"b2prod-retired-{os.getpid()}")
        self.storage, self.outside = self.folder / "data", self.folder / "outside"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.outside.mkdir(parents=True)
        (self.outside / "secret").write_text(SECRET)
        self.engine = engine or make_memory()
        self.clock = Clock(lambda: BEGIN + DAY * self.days)
        self.days = 0.0
        self.signing = Signing()
        self.reading, self.taking, self.reason = False, False, "superseded"
        self.phantoms: list[str] = []
        self.left: int | None = None
        self.meanwhile: Any = None
        self.odd: set[int] = set()
        self.planned: Operation | None = None
        self.places: dict[int, tuple[str, list[str]]] = {}
        if engine is not None or not _FILLED:
            self._fill(runs)
        else:
            self._write_files(runs)
            with self.engine.begin() as connection:
                connection.connection.driver_connection.deserialize(_FILLED[0])

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_files(self, runs: int) -> None:
        for run in range(1, runs + 1):
            folder = f"old/reco/e0003/r{run:05d}/v1"
            names = [f"mdst.{run}.{place}.root" for place in range(2)]
            for place, name in enumerate(names):
                self._write(f"{folder}/{name}", f"run {run} file {place}")
            self._write(f"{folder}/{name_record('mdst', 1)}", "{}")
            self.places[run] = (folder, names)

    def _fill(self, runs: int) -> None:
        self._write_files(runs)
        with self.engine.begin() as connection:
            metadata.drop_all(connection)
            metadata.create_all(connection)
            record_upgrade(connection)
            for run, (folder, names) in self.places.items():
                fill_run(connection, run, str(self.storage), folder, names, self.clock.show())
            record_made(connection, {*self.places}, produced=True)
            record_keys(connection, {*self.places}, produced=True)
        if self.engine.dialect.name == "sqlite":
            with self.engine.begin() as connection:
                _FILLED.append(connection.connection.driver_connection.serialize())

    def _write(self, path: str, content: str) -> None:
        file = self.storage / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    # what happens

    @property
    def repository(self) -> Repository:
        return read_variant(reading=self.reading, taking=self.taking, reason=self.reason)

    def writer(self) -> Writer:
        return Writer(self.engine, None, self.clock, self.step)

    def step(self) -> None:
        """Counts an effect or a transaction down to the end of the process."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def plan(self) -> Operation | None:
        """The operation that is next, as a plan has it."""
        world = self

        class Reader(OperationReader):
            def _read_units(self, name: str) -> Any:
                assert name == "taker"
                shared = {"mdst": [(1).to_bytes(32, "big")]} if world.taking else {}
                return (SimpleNamespace(fingerprints=shared, step=SimpleNamespace(name="reco")),)

        with self.engine.begin() as connection:
            view = StateView((), Plan("a ledger", 0, 0, ()))
            reader = Reader(connection, self.repository, State(self.folder), view, self.clock.show())
            return reader.read_retirement(self.repository.retirements["first"])

    def turn(self, kill: int | None = None) -> Outcome:
        """A turn of the reconciler, which ends after `kill` effects."""
        outcome = Outcome()
        self.planned = self.plan()
        self.left = kill
        places: Any = Anywhere()
        permits: Any = self.signing
        with contextlib.suppress(Killed):
            operator = Operator(
                self.repository,
                self.writer(),
                permits,
                places,
                open_tree=lambda root: WatchedTree(root, self),
            )
            if self.planned is not None:
                operator.operate([self.planned], outcome)
        self.left = None
        return outcome

    def restore(self, kill: int | None = None) -> None:
        """A person restores what is in the trash."""
        places: Any = Anywhere()
        with contextlib.suppress(GuardRefused, Killed):
            with self.engine.begin() as connection:
                waiting = list_restorable(connection, "retirement/first", "it is needed")
            self.left = kill
            for one in waiting:
                restore(self.writer(), "somebody", places, one, lambda _: None)
        self.left = None

    def sign(self) -> None:
        """The data owner signs what is retired now."""
        with self.engine.begin() as connection:
            self.signing.digests.add(read_retired(connection, self.repository.retirements["first"]).digest)

    def protect(self) -> None:
        until = datetime.fromtimestamp(self.clock.time() + 40 * DAY, UTC).strftime("%Y-%m-%d")
        ProtectionWriter(self.writer(), "somebody").protect("old/reco", until, "an analysis")

    def end_protection(self) -> None:
        ProtectionWriter(self.writer(), "somebody").end("old/reco")

    def publish(self, kind: OperationKind = OperationKind.PUBLISH) -> None:
        """An edition is published or withdrawn."""
        writer = OperationWriter(self.writer(), "somebody")
        number = writer.begin(Operation(kind, "old/reco/mdst:1", "for tests", "e" * 64, 0, 0, 0))
        writer.end(number)

    # attacks

    def attack(self, chance: random.Random) -> None:
        """Somebody puts something else at the place of an output's files, where they are now."""
        number = chance.choice(sorted(self.places))
        _, names = self.places[number]
        there = [file for name in names for file in self.find(number, name)]
        if not there:
            return
        self.odd.add(number)
        file = chance.choice(there)
        match chance.choice(("link", "folder", "hard link", "other size", "owner", "gone")):
            case "link":
                file.unlink()
                file.symlink_to(self.outside / "secret")
            case "folder":
                aside = self.outside / f"moved-{len(os.listdir(self.outside))}"
                file.parent.rename(aside)
                file.parent.symlink_to(aside)
            case "hard link":
                os.link(file, self.outside / f"linked-{len(os.listdir(self.outside))}")
            case "other size":
                file.write_text("something else was written here")
            case "owner":
                os.chown(file, 65_534, -1)
            case _:
                file.unlink()

    def heal(self) -> None:
        """All that was odd is as it was."""
        for number in self.odd:
            folder, names = self.places[number]
            state = self.state(number)
            for aside in self.list_folders(number):
                if aside.is_symlink():
                    target = aside.resolve()
                    aside.unlink()
                    target.rename(aside)
            for name in names:
                for file in self.find(number, name):
                    file.unlink()
            run = int(folder.split("/r")[-1].split("/")[0])
            aside_now = self.aside(number)
            where = aside_now if state == "trashed" and aside_now is not None else folder
            if state != "purged":
                for place, name in enumerate(names):
                    self._write(f"{where}/{name}", f"run {run} file {place}")
        self.odd.clear()
        self.phantoms.clear()

    # what is there

    def state(self, number: int) -> str:
        with self.engine.begin() as connection:
            return str(connection.execute(select(outputs.c.state).where(outputs.c.id == number)).scalar_one())

    def list_folders(self, number: int) -> list[Path]:
        """The folders in which an output's files may be."""
        folder = self.places[number][0]
        above = self.storage / TRASH / folder
        asides = [*above.glob("*-v*")] if above.is_dir() else []
        return [one for one in (self.storage / folder, *asides) if os.path.lexists(one)]

    def aside(self, number: int) -> str | None:
        """The folder in the trash of an output, below the storage."""
        folder = self.places[number][0]
        found = [one for one in self.list_folders(number) if TRASH in str(one)]
        if found:
            return str(found[0].relative_to(self.storage))
        return name_aside(folder, number.to_bytes(32, "big"), 1)

    def find(self, number: int, name: str) -> list[Path]:
        return [one / name for one in self.list_folders(number) if os.path.lexists(one / name)]

    # what must hold

    def judge_removal(self, path: str) -> None:
        """At the moment before a file is removed."""
        assert path.startswith(f"{TRASH}/"), f"{path} is removed, and is not in the trash"
        assert self.planned is not None
        assert self.planned.kind is OperationKind.PURGE
        assert self.planned.digest in self.signing.digests, "nobody signed for this"
        with self.engine.begin() as connection:
            query = select(operations.c.ended).where(
                operations.c.kind == "trash", operations.c.state == "done"
            )
            last = max(connection.scalars(query.where(operations.c.ended.is_not(None))), default=None)
            makers = {"old/reco/mdst"}
            held = find_changed(connection, self.repository, makers, self.clock.show()[:10])
        assert last is not None
        trashed = datetime.strptime(last, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        assert self.clock.time() - trashed >= 30 * DAY, "the quarantine is not over"
        assert not held, f"{held} needs it"
        assert not self.taking, "it was taken over"

    def check(self) -> None:
        """What must hold at every moment."""
        assert (self.outside / "secret").read_text() == SECRET
        for number in self.places.keys() - self.odd:
            state = self.state(number)
            with self.engine.begin() as connection:
                query = select(operation_items.c.state, operations.c.kind)
                query = query.join(operations, operations.c.id == operation_items.c.operation)
                items = connection.execute(
                    query.where(operation_items.c.output == number).order_by(operations.c.id)
                ).all()
            moving = bool(items) and items[-1].state == OperationState.INTENDED
            folder, names = self.places[number]
            for name in names:
                found = [str(one.relative_to(self.storage)) for one in self.find(number, name)]
                assert len(found) <= 1, f"{found}: two copies"
                purging = bool(items) and items[-1].kind == OperationKind.PURGE
                if state == "purged" or (purging and moving):
                    assert not found or moving, f"{number} is purged, and {found} is there"
                    continue
                assert found, f"{number} is {state}, and {name} is nowhere"
                if state == "produced" and not moving:
                    assert found == [f"{folder}/{name}"], f"{number} is published, and {found}"
                if state == "trashed" and not moving:
                    assert found[0].startswith(TRASH), f"{number} is in the trash, and {found}"

    def converge(self) -> None:
        """All trouble ends, and somebody signs: in the end each output is in one place, and the ledger says which."""
        self.heal()
        self.reading = self.taking = False
        self.end_protection()
        self.publish(OperationKind.WITHDRAW)
        for _ in range(6):
            self.sign()
            outcome = self.turn()
            assert not outcome.failed, outcome.failed
            self.check()
            self.days += 31
            planned = self.plan()
            if planned is None:
                break
            if planned is not None and planned.why.startswith("it was restored"):
                self.restore()  # the person whose process ended runs it again
        states = {self.state(number) for number in self.places}
        planned = self.plan()
        if planned is None:
            assert states == {"purged"}
            assert not [*(self.storage / TRASH).rglob("*.root")]
            assert len([*(self.storage / TOMBSTONES).rglob("*.json")]) == len(self.places)
        else:  # a person had it restored, and the manifest says nothing new
            assert planned.why.startswith("it was restored"), planned
            assert states == {"produced"}
        with self.engine.begin() as connection:
            assert [*find_unsound(connection)] == []
