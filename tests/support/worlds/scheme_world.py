"""A committed checkout in which a scheme is followed by command lines, and people sign with real keys."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import uproot

from ci.cli.exits import Exit
from reconciler.ledger.reading.observation import read_payloads, read_used
from reconciler.ledger.schema.tables import intents
from reconciler.ledger.store.database import reading
from tests.support.inputs.keys import ORDER, PERSON
from tests.support.worlds.signable_checkout import SignableCheckout

EVENTS = 400
"""The number of events of a run."""


class SchemeWorld(SignableCheckout):
    """The campaign `proc7` needs four people as any other; `files` is the number of RAW files of each run."""

    def begin(self, **files: str) -> None:
        """Commits files of `productions`, by name with `__` for `/`, and pins the trust root that is there then."""
        for name, text in files.items():
            self.write(f"productions/{name.replace('__', '/')}.yaml", text)
        self.lock()
        self.commit()
        self.pin()

    def b2prod(self, *words: object, typed: str = "") -> int:
        """A command line, at which a person types a line."""
        with patch("sys.stdin", io.StringIO(f"{typed}\n")):
            return self.call(*words)

    def approve(self, name: str, *roles: str) -> None:
        """All four people approve a campaign, or some of them."""
        for role in roles or ORDER:
            key = self.circle.key(PERSON[role]).file
            assert self.b2prod("approve", name, "--role", role, "--key", key, typed=name) == Exit.FINE
        self.commit(f"{name} is approved")

    def sign_gate(self, gate: str, role: str, reason: str) -> int:
        key = self.circle.key(PERSON[role]).file
        code = self.b2prod("approve", "--gate", gate, "--key", key, "--reason", reason, typed=gate)
        self.commit(f"{gate} is signed")
        return code

    def turn(self) -> int:
        """`b2prod reconcile --once`, of all campaigns."""
        return self.b2prod("reconcile", "--once")

    def begun(self, campaign: str) -> list[int]:
        """The runs of which a campaign has ever begun a unit."""
        return sorted({run for name, run in self.rows(intents, "campaign", "run") if name == campaign})

    def made(self, campaign: str, step: str) -> list[int]:
        return [run for name, of, run, *_ in self.produced() if (name, of) == (campaign, step)]

    def made_with(self, campaign: str, payload: str) -> dict[int, str]:
        """Run → md5 of the payload with which the campaign made it."""
        with reading(self.state) as connection:
            used = read_used(connection, campaign)
            sets = read_payloads(connection, used)
        return {
            run & 0xFFFFFFFF: next(one.checksum for one in sets[digest] if one.name == payload)
            for digest, runs in used.items()
            for run in runs
        }

    def reconstruct(
        self, tag: str, tracks: Callable[[np.ndarray], np.ndarray], runs: range, number: int = EVENTS
    ) -> None:
        """What basf2's double makes of these runs with a global tag, of a `number` of events that each has.

        `tracks` gives `nTracksLE` by the numbers of the events.
        """
        (self.root / "made").mkdir(exist_ok=True)
        for run in runs:
            events = np.arange(number, dtype=np.int32)
            same = np.ones(number, np.int32)
            branches = {"experiment": 3 * same, "run": run * same, "event": events}
            columns = {**branches, "nTracksLE": tracks(events).astype(np.float64)}
            with uproot.recreate(self.root / f"made/{tag}-{run}.root") as file:
                made = file.mktree("tree", {name: column.dtype for name, column in columns.items()})
                made.extend(columns)
        self.behave(f"made {number}")


class Told:
    """What command lines of a world print; `capsys` is pytest's."""

    def __init__(self, world: SchemeWorld, capsys: Any) -> None:
        self.world, self.capsys = world, capsys

    def read(self, *words: object, code: int = Exit.FINE) -> tuple[str, str]:
        """stdout and stderr of a command line, which ends with `code`."""
        self.capsys.readouterr()
        ended = self.world.b2prod(*words)
        out, err = self.capsys.readouterr()
        assert ended == code, (words, ended, out, err)
        assert "Traceback" not in out + err
        return out, err

    def json(self, *words: object, code: int = Exit.FINE) -> Any:
        out, _ = self.read(*words, "--json", code=code)
        return json.loads(out)

    def stages(self, scheme: str) -> dict[str, dict[str, Any]]:
        """The stages of a scheme by their gates' names, as `scheme show` has them."""
        return {one["gate"].partition("/")[2]: one for one in self.json("scheme", "show", scheme)}

    def states(self, scheme: str) -> dict[str, str]:
        return {name: one["state"] for name, one in self.stages(scheme).items()}

    def groups(self, campaign: str) -> list[tuple[str, str, str, str]]:
        """The plan's groups of a campaign: action, step, runs, reason."""
        plan = json.loads(self.read("plan", campaign, "--format", "json")[0])
        return [
            (group["action"], group["step"], group["runs"], group["reason"])
            for one in plan["campaigns"]
            for group in one["groups"]
        ]
