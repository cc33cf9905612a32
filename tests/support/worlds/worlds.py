"""Test worlds: a checkout with one campaign, its state, registered runs and files, and a double for basf2."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select

from reconciler.execution.apply import apply_plan, reconcile
from reconciler.execution.outcome import Outcome
from reconciler.ledger.schema.decision_tables import trust_roots
from reconciler.ledger.schema.tables import attempts, inputs, intents, outputs, runs
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.trust import pin_root
from reconciler.model.run import File, Run
from reconciler.model.work_items import WorkItem
from reconciler.planning.resolution import resolve
from reconciler.planning.views import StateView, read_state_view
from reconciler.run_catalogue.catalogue import read_files
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from renderer.jobs.job_json import divide_input
from renderer.steering import read_templates
from schemas.files.tree import read_tree
from schemas.policy.policy import read_policy, select_root
from schemas.repository import Repository, read_repository
from tests.support.inputs.root_files import write_events
from tests.support.worlds.builders import LAYOUTS, RELEASES, ROOT, SKIMS, snapshot, swap
from tests.support.worlds.processes import (
    find_processes,
)

SERVER: str | None = None
"""The address of the database of all worlds; without one, each world has a file."""

FAKE = Path(__file__).parents[1] / "doubles" / "fake_basf2.py"

CAMPAIGN = """\
schema: campaign/1
title: A campaign of a test
kind: calibration
ticket: BIIDP-1000
contact: production-manager@example.org
runs:
  - {experiment: 3, ranges: "1-2"}
release: release-03-00-00
global_tags:
  - {name: tag_a, mode: snapshot}
site: local
layout: plain
steps:
  reco:
    application: basf2
    template: raw_to_mdst/1
    input: {level: raw}
    outputs: [mdst]
    parameters: {trigger_mode: all}
  thin:
    application: basf2
    template: mdst_to_udst/1
    input: {step: reco, level: mdst}
    outputs: [udst]
    split: run
limits: {max_units: 100, max_restate: 10}
"""
"""Two steps; the second reads the output of the first."""

ONE_STEP = CAMPAIGN[: CAMPAIGN.index("  thin:")] + CAMPAIGN[CAMPAIGN.index("limits:") :]

TEMPLATE = """\
schema: template/1
title: For tests
reads: {reads}
writes: [{writes}]
releases: [release-03-]
deviates: true
parameters:
  trigger_mode: {{title: A parameter, default: all, values: [all, hlt]}}
"""

QUIET: Callable[[StateView], None] = lambda _picture: None  # noqa: E731 -- a value of that type


def pin_checkout(root: Path, state: State) -> None:
    """Pins the trust root of a checkout without signatures, replacing any pinned root."""
    tree, _ = read_tree(root)
    policy, findings = read_policy(tree)
    assert policy is not None, findings
    with opened(state) as engine, engine.begin() as connection:
        connection.execute(delete(trust_roots))
        pin_root(connection, policy.root, policy.roles.version, select_root(tree), "a test")


class World:
    """A checkout in `root`, with its state below; `files` is the number of files of each run of experiment 3."""

    _read: tuple[tuple[Any, Any], Repository] | None = None

    def __init__(
        self,
        root: Path,
        *changes: tuple[str, str],
        campaign: str = CAMPAIGN,
        files: Iterable[int] = (2, 1),
        slots: int = 4,
    ) -> None:
        self.root = root
        self.state = State(root / ".b2prod", SERVER)
        self.slots = slots
        for name, text in self._productions(swap(campaign, *changes)).items():
            self.write(name, text)
        for template, reads, writes in (
            ("raw_to_mdst", "raw", "mdst, cdst"),
            ("mdst_to_udst", "mdst", "udst"),
        ):
            self.write(f"templates/{template}/1.yaml", TEMPLATE.format(reads=reads, writes=writes))
            self.write(f"templates/{template}/1.py.j2", "mode = {{ trigger_mode }}\n")
        self.templates = read_templates(root / "templates")
        (root / "events").mkdir(exist_ok=True)
        for events in range(10):
            (root / "events" / f"{events}.root").write_bytes(write_events(events))
        counts = list(files)
        self.register_runs(range(1, len(counts) + 1))
        for run, count in enumerate(counts, 1):
            self.register(run, *(f"raw.{run}.{number}.root" for number in range(count)))
        self.pin()
        self.lock()

    def pin(self) -> None:
        """Pins the trust root of the checkout."""
        pin_checkout(self.root, self.state)

    def _productions(self, campaign: str) -> dict[str, str]:
        launcher = ", ".join(f'"{word}"' for word in (sys.executable, "-ISE", FAKE, self.root))
        site = f"schema: site/1\ntitle: This machine\nengine: local\nstorage: data\nslots: {self.slots}\n"
        return {
            "productions/campaigns/proc7/campaign.yaml": campaign,
            "productions/sites/local.yaml": f"{site}launchers: {{basf2: [{launcher}]}}\n",
            **{f"productions/{name}": text for name, text in ROOT.items()},
            "productions/layouts.yaml": LAYOUTS,
            "productions/releases.yaml": RELEASES.replace("release-04-00-00", "release-03-00-01"),
            "productions/skims/menu.yaml": SKIMS,
            "productions/global-tags/tag_a.iov": snapshot("tag_a"),
        }

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def change(self, *changes: tuple[str, str], campaign: str = "proc7", lock: bool = True) -> None:
        """Edits a campaign, and locks it again."""
        file = self.root / f"productions/campaigns/{campaign}/campaign.yaml"
        file.write_text(swap(file.read_text(), *changes))
        if lock:
            self.lock()

    def lock(self) -> None:
        """Writes the lock of every campaign, as `b2prod resolve` does."""
        repository = self.repository()
        with reading(self.state) as connection:
            for name, declared in repository.campaigns.items():
                lock, findings = resolve(connection, repository, declared)
                assert not findings, findings
                self.write(f"productions/campaigns/{name}/campaign.lock", lock.text())

    def repository(self) -> Repository:
        tree, unread = read_tree(self.root)
        if self._read is None or self._read[0] != (tree, self.templates):
            repository, findings = read_repository(tree, self.templates)
            assert not (*unread, *findings), (*unread, *findings)
            self._read = (tree, self.templates), repository
        return self._read[1]

    def register_runs(self, runs: Iterable[int]) -> None:
        with opened(self.state) as engine:
            import_runs(engine, [Run(3, run, "physics") for run in runs])

    def register(
        self, run: int, *names: str, content: str = "raw data", events: int | None = None
    ) -> list[Path]:
        """Writes files and registers them for a run of experiment 3; `events` is the number in each."""
        found, paths = [], []
        for name in names:
            file = self.root / "raw" / name
            self.write(f"raw/{name}", f"{content} of {name}")
            checksum = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
            found.append(File(3, run, "raw", name, str(file), file.stat().st_size, checksum, events))
            paths.append(file)
        with opened(self.state) as engine:
            import_files(engine, found)
        return paths

    def behave(self, behaviour: str, unit: str = "any") -> None:
        """Sets the behaviour of the fake basf2 for `unit`, as in `reco-2`."""
        self.write(f"behaviour/{unit}", behaviour)

    def state_view(self, *names: str, refresh: bool = False) -> StateView:
        with reading(self.state) as connection:
            return read_state_view(
                connection, self.repository(), names or self.names, self.state, refresh=refresh
            )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, one in self.repository().campaigns.items() if one.campaign.is_live)

    def store(self, *names: str, refresh: bool = False) -> dict[str, Any]:
        """A plan as `b2prod plan -o` stores it."""
        plan = self.state_view(*names, refresh=refresh).plan
        return {**plan.content(), "digest": plan.digest()}

    def apply(self, stored: dict[str, Any]) -> Outcome:
        return apply_plan(self.state, self.repository(), stored, QUIET)

    def reconcile(self, *names: str, refresh: bool = False) -> Outcome:
        return reconcile(self.state, self.repository(), names or self.names, QUIET, refresh=refresh)

    def retry(self, campaign: str = "proc7", step: str | None = None) -> int:
        with opened(self.state) as engine:
            scope = Scope(campaign, campaign, step)
            return OperatorActions(Writer(engine, None), "shifter@example.org").release(scope, "mended")

    def summary(self, *names: str, refresh: bool = False) -> dict[str, int]:
        """The plan's counts above zero, for all campaigns."""
        total: Counter[str] = Counter()
        for campaign in self.state_view(*names, refresh=refresh).plan.campaigns:
            total.update(campaign.data()["summary"])
        return {word: count for word, count in total.items() if count}

    def groups(self, *names: str, refresh: bool = False) -> list[tuple[str, str, str, str]]:
        """The plan's groups: action, step, runs, reason."""
        plan = self.state_view(*names, refresh=refresh).plan
        found = [group.data() for campaign in plan.campaigns for group in campaign.groups]
        return [(group["action"], group["step"], group["runs"], group["reason"]) for group in found]

    def inputs(self, folder: Path) -> list[tuple[Any, ...]]:
        """The content of the run catalogue for `folder`."""
        with reading(State(folder, self.state.server)) as connection:
            query = (
                select(inputs, runs.c.type).join(runs, (runs.c.run == inputs.c.run)).order_by(inputs.c.run)
            )
            return [tuple(row) for row in connection.execute(query)]

    @property
    def starts(self) -> list[str]:
        """All starts of the fake basf2: step, job key and attempt."""
        file = self.root / "starts"
        return file.read_text().splitlines() if file.exists() else []

    def attempts(self) -> Counter[str]:
        """The number of attempts in each state."""
        with reading(self.state) as connection:
            query = select(attempts.c.state, func.count()).group_by(attempts.c.state)
            return Counter(dict(connection.execute(query).all()))

    def rows(self, table: Any, *columns: str) -> list[tuple[Any, ...]]:
        with reading(self.state) as connection:
            query = select(*(table.c[name] for name in columns)).order_by(*table.primary_key)
            return [tuple(row) for row in connection.execute(query)]

    def produced(self) -> list[tuple[str, str, int, str, int]]:
        """Campaign, step, run, output and version of every produced output."""
        rows = self.rows(outputs, "campaign", "step", "run", "output", "version", "state")
        return sorted(row[:-1] for row in rows if row[-1] == "produced")  # type: ignore[misc]  # rows are of the columns named

    def quarantined(self) -> list[tuple[str, int, str]]:
        rows = self.rows(intents, "step", "run", "reason", "state")
        return [row[:-1] for row in rows if row[-1] == "quarantined"]  # type: ignore[misc]  # rows are of the columns named

    def published(self) -> dict[str, str]:
        """Path → digest of the content of every file in the storage that is not hidden."""
        storage = self.state.storage("data")
        files = sorted(path for path in storage.rglob("*") if path.is_file() and path.name[0] != ".")
        return {
            str(path.relative_to(storage)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }

    def workspaces(self) -> list[str]:
        folder = self.state.attempts
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def processes(self) -> list[int]:
        """The processes that work in an attempt's folder."""
        return find_processes(self.state.attempts)

    def keep(self) -> None:
        """Saves the state for `restore`."""
        shutil.copytree(self.state.folder, self.root / "kept", symlinks=True)

    def restore(self) -> None:
        """Restores the state of `keep` at the same path; no job may have been started since."""
        shutil.rmtree(self.state.folder)
        shutil.copytree(self.root / "kept", self.state.folder, symlinks=True)
        (self.root / "starts").unlink(missing_ok=True)


WHO = "shifter@example.org"


def pull(world, act):
    with opened(world.state) as engine:
        return act(OperatorActions(Writer(engine, None), WHO))


def make_work_item(world):
    """The work item of the first unit, which has two jobs."""
    (view,) = world.state_view().views
    units = view.units[0]
    with reading(world.state) as connection:
        files = read_files(connection, "detector/raw", units.runs[0])
    return WorkItem(
        campaign=view.campaign,
        units=units,
        run=units.runs[0],
        names=("mdst",),
        jobs=divide_input(units.step, files),
        layout=world.repository().layouts["plain"],
        storage="/storage",
    )
