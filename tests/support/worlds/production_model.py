"""A production that tests drive step by step, with the engine's double, its own clock, and invariants.

`Production` acts, `check` asserts the invariants I1-I4, I10 and I12 of everything, and `converge` ends all trouble and
asserts that everything declared exists exactly once.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, literal, select

from reconciler import engines
from reconciler.execution.apply import apply_plan, reconcile
from reconciler.execution.outcome import Outcome
from reconciler.execution.plan_memory import PlanMemory
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.schema import tables
from reconciler.ledger.schema.tables import attempts, intents, jobs, outputs, products
from reconciler.ledger.store import database
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.upkeep.soundness import find_unsound
from reconciler.ledger.writing import lease
from reconciler.ledger.writing.journal import read_journal, read_rows, replay
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.pauses import Pause, read_pauses
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.engine import Batch
from reconciler.model.sign_offs import lack_signatures
from reconciler.model.states import LIVE
from reconciler.outside.clock import Clock
from reconciler.outside.errors import GuardRefused
from reconciler.planning.views import read_state_view
from schemas.manifest.runs import run_key
from schemas.repository import Repository
from tests.support.doubles.engine_double import VISIBILITY, Cluster, Job, write_content
from tests.support.doubles.simulated_process import SimulatedProcess, elsewhere, forget, install, name_process
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import QUIET, World

FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
NAME = "proc7"
LEASE = 90.0
RUNS = 3
_make_engine = database._make_engine

BEGIN = 1_550_000_000.0

Variant = tuple[int, str, int]
"""A declaration: number of runs, a parameter, and a revision of its payload."""

FIRST: Variant = (2, "all", 1)


class Template(World):
    """The start of all productions: a checkout, the runs and their files."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, files=(2, 1, 1))

    def _productions(self, campaign: str) -> dict[str, str]:
        found = super()._productions(campaign)
        site = "productions/sites/local.yaml"
        found[site] = found[site].replace("engine: local", "engine: slurm")
        return found

    @functools.cache  # noqa: B019 -- there is one, for the whole session
    def read(self, variant: Variant) -> Repository:
        """The repository that declares a variant, with its lock."""
        runs, mode, revision = variant
        manifest = self.root / f"productions/campaigns/{NAME}/campaign.yaml"
        before = manifest.read_text()
        self.write(
            "productions/global-tags/tag_a.iov",
            snapshot("tag_a", f"CDCGeometry {revision} {revision:032x} 0,0,-1,-1"),
        )
        try:
            self.change(
                ('ranges: "1-2"', f'ranges: "1-{runs}"'), ("trigger_mode: all", f"trigger_mode: {mode}")
            )
            return self.repository()
        finally:
            manifest.write_text(before)


class Approvals:
    """Replaces the gate for approvals: valid or not, with another digest each time."""

    def __init__(self) -> None:
        self.valid = True
        self.number = 0

    def digest(self) -> str:
        return hashlib.sha256(str(self.number).encode()).hexdigest()

    def find_sites(self, repository: Any) -> Mapping[str, Any]:
        return repository.sites

    def find_retention(self, repository: Any) -> Any:
        return repository.retention

    def find_validation(self, repository: Any, name: str) -> Any:
        return repository.validations.get(name)

    def open_sign_offs(self) -> Any:
        return lack_signatures

    def verify_operation(self, operation: Any) -> str:
        return "" if not operation.signed else self.digest()

    def verify(self, names: Sequence[str], plan: Any) -> Mapping[str, str]:
        if not self.valid:
            raise GuardRefused("an approval was taken back")
        return dict.fromkeys(names, self.digest())


class Production:
    """One campaign, one ledger, one cluster."""

    def __init__(self, template: Template, patch: Any, *, shared: bool, attached: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="b2prod-", dir=FAST))
        shutil.copytree(template.state.folder, self.folder / "state")
        self.state = State(self.folder / "state")
        self.template = template
        self.variant = FIRST
        self.steady, self.offset = 0.0, 0.0
        self.cluster = Cluster(self.folder / "site", lambda: self.steady, shared=shared, attached=attached)
        self.cluster.watch = self._watch
        self.approvals = Approvals()
        self.memory: PlanMemory | None = None
        self.names: tuple[str, ...] = (NAME,)
        self.clock = Clock(lambda: BEGIN + self.steady + self.offset, lambda: self.steady, self._sleep)
        self.files: dict[str, bytes] = {}
        self.deleted: Counter[str] = Counter()
        self.submitted = 0
        self._copy, self._replayed = make_copy(), 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.stopped: SimulatedProcess | None = None
        install(patch)
        patch.setattr(database, "_make_engine", functools.cache(_make_engine))
        patch.setitem(engines.ENGINES, "slurm", self.cluster.engine)
        patch.setattr(lease, "describe_process", name_process)
        patch.setattr(lease, "tell_clock", lambda _: literal(BEGIN + self.steady))

    # what happens

    def turn(self, *, refresh: bool = False, patient: bool = False) -> Outcome:
        """One turn of a reconciler; a patient one waits for all jobs, and `meanwhile` happens."""
        bound = 600.0 if patient else 20.0
        turn_options = TurnOptions(
            self.approvals, patient=patient, bound=bound, lease=LEASE, clock=self.clock
        )
        return reconcile(
            self.state, self.repository, self.names, QUIET, turn_options, refresh=refresh, memory=self.memory
        )

    def process(self, **when: int) -> SimulatedProcess:
        """A turn as a process."""
        return SimulatedProcess(self.turn, **when)

    def store(self) -> dict[str, Any]:
        """A plan as `b2prod plan -o` stores it."""
        with reading(self.state) as connection:
            plan = read_state_view(connection, self.repository, (NAME,), self.state).plan
        return {**plan.content(), "digest": plan.digest()}

    def apply(self, stored: Mapping[str, Any]) -> Outcome:
        """Applies a stored plan."""
        turn_options = TurnOptions(self.approvals, bound=20.0, lease=LEASE, clock=self.clock)
        return apply_plan(self.state, self.repository, stored, QUIET, turn_options)

    @contextmanager
    def levers(self) -> Iterator[OperatorActions]:
        """Operator actions of a person."""
        with opened(self.state) as engine:
            yield OperatorActions(Writer(engine, None, self.clock), "shifter@example.org")

    def unit(self, step: str, run: int) -> Scope:
        return Scope(f"{NAME}/{step}/3:{run}", NAME, step, frozenset([self._key(run)]))

    def pass_time(self, seconds: float) -> None:
        self.steady += seconds

    def delete(self, path: str) -> None:
        """Deletes a published file from the storage."""
        (self.storage / path).unlink()
        self.deleted[path] += 1
        del self.files[path]

    # what is there

    @property
    def repository(self) -> Repository:
        with elsewhere():
            return self.template.read(self.variant)

    @property
    def storage(self) -> Path:
        return self.state.storage("data")

    def rows(self, query: Any) -> list[Any]:
        with reading(self.state) as connection:
            return list(connection.execute(query))

    def list_pauses(self) -> tuple[Pause, ...]:
        """The current pauses."""
        with reading(self.state) as connection:
            return read_pauses(connection)

    def tried(self) -> dict[str, str]:
        """Name → state of every attempt."""
        return {row.name: row.state for row in self.rows(select(attempts.c.name, attempts.c.state))}

    def published(self) -> dict[str, bytes]:
        """Path → content of every file with its final name in the storage, without copies in progress."""
        files = self.storage.rglob("[!.]*") if self.storage.is_dir() else ()
        return {str(path.relative_to(self.storage)): path.read_bytes() for path in files if path.is_file()}

    def jobs_without_attempt(self) -> list[Job]:
        known = self.tried()
        return [job for job in self.cluster.jobs if job.name not in known]

    # what must hold

    def check(self) -> None:
        """Checks the invariants that hold at every moment."""
        self._check_attempts()
        self._check_outputs()
        assert not self.jobs_without_attempt(), "I3: a job bears our name, and no attempt does"
        self._check_journal()
        with reading(self.state) as connection:
            assert list(find_unsound(connection)) == []

    def _check_attempts(self) -> None:
        unit = (intents.c.step, intents.c.run, jobs.c.key, outputs.c.fingerprint)
        query = select(*unit, func.count(func.distinct(attempts.c.id)).label("live"))
        query = query.join(jobs, jobs.c.intent == intents.c.id).join(attempts, attempts.c.job == jobs.c.id)
        query = query.join(outputs, outputs.c.intent == intents.c.id).where(attempts.c.state.in_(LIVE))
        for row in self.rows(query.group_by(*unit)):
            assert row.live == 1, f"I1: {row.step}, run {row.run}, has {row.live} live attempts of one job"

    def _check_outputs(self) -> None:
        now = self.published()
        for path, content in self.files.items():
            assert now.get(path) == content, f"I2: {path} was changed or removed"
        self.files = now
        query = select(outputs, products.c.path).join(products, products.c.output == outputs.c.id)
        rows = self.rows(query.where(outputs.c.state.in_(("publishing", "produced", "lost"))))
        places = {f"{row.folder}/{row.path}": row for row in rows}
        assert now.keys() <= places.keys(), "a file was published of which the ledger does not know"
        made: dict[bytes, set[int]] = {}
        gone: Counter[bytes] = Counter()
        for place, row in places.items():
            if row.state == "publishing":
                continue
            assert place in now or self.deleted[place], (
                f"I10: {place} is in the inventory and not in the storage"
            )
            if place in now:
                wanted = write_content(row.output, row.fingerprint.hex())
                assert now[place] == wanted, f"{place} is not what its fingerprint says"
            made.setdefault(row.fingerprint, set()).add(row.version)
            gone[row.fingerprint] += self.deleted[place]
        for fingerprint, versions in made.items():
            assert len(versions) <= 1 + gone[fingerprint], (
                f"I2: produced {len(versions)} times, lost {gone[fingerprint]}"
            )
        lost = [place for place, row in places.items() if row.state == "lost" and place in now]
        siblings = {row.intent for place, row in places.items() if self.deleted[place]}
        assert all(places[place].intent in siblings for place in lost), "I10: taken for lost, and it is there"

    def _check_journal(self) -> None:
        """I12: the journal reproduces the rows, in another database."""
        with reading(self.state) as connection:
            entries, now = list(read_journal(connection)), read_rows(connection)
        with self._copy.begin() as copy:
            replay(copy, entries[self._replayed :])
            again = read_rows(copy)
        self._replayed = len(entries)
        for table, rows in now.items():
            assert again[table] == rows, f"I12: {table}"

    def finish(self) -> None:
        """Ends a story: checks the invariants, then converges."""
        self.check()
        self.converge()

    def converge(self) -> None:
        """Ends all faults; then everything declared is made exactly once, and nothing remains."""
        if self.stopped is not None:
            self.wake()
        self.cluster.faults.clear()
        self.cluster.outcomes.clear()
        self.approvals.valid = True
        for _ in range(60):
            with self.levers() as levers:
                for scope in ("all", "site:local", f"campaign:{NAME}"):
                    levers.resume(scope, "all is well")
                levers.release(Scope(NAME, NAME), "all is well")
            self.pass_time(2 * VISIBILITY + LEASE + 6000)
            outcome = self.turn(refresh=True)
            self.cluster.work_all()
            self.check()
            done = not any(state in LIVE for state in self.tried().values())
            if done and not outcome.failed and not self.cluster.active() and self._is_empty():
                break
        else:
            raise AssertionError(f"it does not converge: {self.store()['campaigns']}, {self.tried()}")
        before = self.submitted
        self.turn()
        assert self.submitted == before, "a turn after the last one submitted something"
        tried, folder = self.tried(), self.state.attempts
        left = {path.name: tried.get(path.name) for path in folder.iterdir()} if folder.is_dir() else {}
        assert set(left.values()) <= {"failed"}, f"folders are left over: {left}"
        declared = self.variant[0] * 2
        (campaign,) = self.store()["campaigns"]
        assert campaign["summary"]["done"] == declared

    def wake(self) -> None:
        """Continues the stopped reconciler: if it was replaced meanwhile, it changes nothing (I9)."""
        stopped, self.stopped = self.stopped, None
        assert stopped is not None
        had = self.lease is not None and self.lease[0] == stopped.name
        replaced = had and self._read_lease() != self.lease
        before = self._count_events()
        try:
            stopped.wake()
        except GuardRefused:
            assert replaced or not had or not self.approvals.valid
        if replaced:
            assert self._count_events() == before, "I9: a write under an old fence"

    def stop(self, at: int) -> None:
        """Stops a turn at an effect, for longer than its lease."""
        process = self.process(stop=at)
        if process.start():
            self.stopped, self.lease = process, self._read_lease()
        else:
            process.end()

    def _read_lease(self) -> tuple[str, int] | None:
        rows = self.rows(select(tables.leases.c.holder, tables.leases.c.fence))
        return tuple(rows[0]) if rows else None

    def _count_events(self) -> int:
        return int(self.rows(select(func.max(tables.events.c.id).label("last")))[0].last or 0)

    def _is_empty(self) -> bool:
        return not any(
            group["action"] in ("submit", "restate")
            for item in self.store()["campaigns"]
            for group in item["groups"]
        )

    def _watch(self, batch: Batch) -> None:
        """At every submission: intents are committed, approved, and have these names (I4, I5)."""
        with elsewhere():
            query = select(attempts.c.name, intents.c.approval).join(jobs, jobs.c.id == attempts.c.job)
            rows = self.rows(query.join(intents, intents.c.id == jobs.c.intent))
        known = {row.name: row.approval for row in rows}
        for handle in batch.handles:
            assert handle.name in known, "I4: submitted before its intent was committed"
            assert known[handle.name], "I5: submitted without an approval"
        self.submitted += len(batch.handles)

    def _sleep(self, seconds: float) -> None:
        with elsewhere():
            self.pass_time(max(seconds, 1.0))
            if self.cluster.attached:
                self.cluster.work_all()
            self.meanwhile()

    def _key(self, run: int) -> int:
        return run_key(3, run)

    def close(self) -> None:
        if self.stopped is not None:
            self.stopped.abandon()
        self._copy.dispose()
        forget()
        shutil.rmtree(self.folder, ignore_errors=True)


def make_copy() -> Engine:
    """An empty ledger in memory, for rows made from a journal."""
    copy = create_engine("sqlite://")
    event.listen(copy, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
    tables.metadata.create_all(copy)
    return copy
