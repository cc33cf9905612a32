"""A world whose site has tape: a chain of campaigns that made the same runs, a retention, and a tape that can be told how to behave."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reconciler.execution.outcome import Outcome
from reconciler.ledger.schema.operation_tables import copies, operation_items, operations
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import keep_comparison
from reconciler.ledger.writing.transaction import Writer
from reconciler.planning.declared_heads import read_head
from schemas.files.canonical import canonical_json
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_runs
from schemas.policy.retention import RETENTION
from tests.support.worlds.builders import swap
from tests.support.worlds.worlds import ONE_STEP, WHO, World

FAKE_TAPE = Path(__file__).parents[1] / "doubles" / "fake_tape.py"

LAST_ONE = "{site: local, disk: 1, tape: all, after_days: 0}"
SAMPLED = "{site: local, disk: 1, tape: all, after_days: 0, sample: 1}"


class TapedWorld(World):
    """`proc7` and its successor `proc8` have each made their runs; `proc7` is stopped. `rule` is that of the retention."""

    def __init__(self, root: Path, rule: str = LAST_ONE, *, checksum: bool = True) -> None:
        super().__init__(root, campaign=ONE_STEP, files=(1, 1))
        self.hsm = root / "hsm"
        self.hsm.mkdir()
        self.tape()
        assert self.reconcile().produced == 2
        self.change(("runs:\n", "state: stopped\nruns:\n"))
        later = swap(ONE_STEP, ("runs:\n", "supersedes: [proc7]\nreuse: never\nruns:\n"))
        self.write("productions/campaigns/proc8/campaign.yaml", later)
        self.lock()
        assert self.reconcile().produced == 2
        site = root / "productions/sites/local.yaml"
        commands = {"archive": {"batch": 3}, "recall": {"batch": 3}} | ({"checksum": {}} if checksum else {})
        lines = [
            f"{name}: {json.dumps({'command': [sys.executable, '-IS', str(FAKE_TAPE), str(self.hsm), name], **more})}\n"
            for name, more in commands.items()
        ]
        site.write_text(site.read_text() + "".join(lines))
        self.write(RETENTION, f"schema: retention/1\nrules:\n  - {rule}\n")
        self.pin()

    def tape(self, **behaviour: str) -> None:
        """How the commands behave from now on."""
        (self.hsm / "behaviour").write_text(json.dumps(behaviour))

    def calls(self, command: str) -> list[list[str]]:
        """The arguments of the calls of a command."""
        file = self.hsm / "calls"
        told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [words for name, *words in told if name == command]

    def on_tape(self) -> list[Path]:
        return sorted((self.hsm / "tape").glob("*")) if (self.hsm / "tape").exists() else []

    def on_disk(self, campaign: str) -> list[str]:
        """The files of events of a campaign that are in the storage."""
        storage = self.state.storage("data")
        return sorted(str(one.relative_to(storage)) for one in storage.glob(f"{campaign}/**/*.root"))

    def validate(self, name: str = "proc8/reco/mdst", said: str = "pass") -> None:
        """A comparison of what a dataset has now is kept, with this verdict."""
        with reading(self.state) as connection:
            edition = read_head(connection, self.repository(), parse_dataset(name), self.state)
        side = {"dataset": name, "edition": edition.digest, "alone": ""}
        told = {"compared": side, "against": {**side, "dataset": "proc7/reco/mdst"}}
        told |= {
            "runs": format_runs(sorted(edition.runs)),
            "validation": {"name": "counts", "digest": "0" * 64},
            "verdict": said,
        }
        with opened(self.state) as engine:
            keep_comparison(Writer(engine, None), canonical_json(told), WHO)

    def turn(self) -> Outcome:
        return self.reconcile()

    def operations(self) -> list[tuple[str, str, str]]:
        """Kind, subject and state of the operations of the ledger."""
        return self.rows(operations, "kind", "subject", "state")  # type: ignore[return-value]

    def items(self) -> list[tuple[str, str]]:
        """State and reason of the outputs of the operations."""
        return self.rows(operation_items, "state", "told")  # type: ignore[return-value]

    def copies(self, campaign: str) -> set[tuple[str, bool]]:
        """Kind of the copies of a campaign's outputs, and whether they are there."""
        mine = {number for number, name in self.rows(outputs, "id", "campaign") if name == campaign}
        return {
            (kind, there)
            for number, kind, there in self.rows(copies, "output", "kind", "there")
            if number in mine
        }
