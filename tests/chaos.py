"""`nox -s chaos`: a campaign on this machine under kills, stops, edits, levers, clock jumps and disk faults; not part of the suite.

    python -m tests.chaos [--minutes 30] [--units 300] [--seed N]

What is judged is judged by `Judge`, which shares nothing with the product: it reads SQLite, files and /proc by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from renderer.steering import load_templates
from tests.support.worlds.worlds import ONE_STEP, World

TOOL = str(Path(sys.executable).with_name("b2prod"))
SIZE = 220
"""Megabytes of the file system that state and storage lie on, where one can be mounted."""
LIVE = ("intent", "uncertain", "submitted", "running")

SHIFT = """\
import os, time
if shift := float(os.environ.get("CHAOS_SHIFT", "0")):
    told = time.time
    time.time = lambda: told() + shift
"""
"""A `sitecustomize` that sets the clock of the process: libfaketime may not be here."""


class Judge:
    """What must hold, as seen from outside."""

    def __init__(self, state: Path) -> None:
        self.state, self.database, self.storage = state, state / "b2prod.sqlite", state / "data"
        self.files: dict[Path, tuple[int, str]] = {}
        self.looks = 0
        self.wrong: list[str] = []

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=60) as connection:
            return connection.execute(query).fetchall()

    def look(self) -> None:
        """What holds at every moment."""
        self.looks += 1
        listed = ", ".join(f"'{one}'" for one in LIVE)
        twice = self.ask(
            f"SELECT job FROM attempts WHERE state IN ({listed}) GROUP BY job HAVING count(*) > 1"
        )
        self.wrong += [f"job {job} has two live attempts" for (job,) in twice]
        there = {
            path for path in self.storage.rglob("*.root") if path.is_file() and not path.name.startswith(".")
        }
        self.wrong += [f"{path} was published, and is gone" for path in self.files.keys() - there]
        for path in there:
            found = path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest()
            if self.files.setdefault(path, found) != found:
                self.wrong.append(f"{path} was published, and was changed")

    def finish(self, runs: int) -> None:
        """What holds at the end, when `runs` runs are declared and all is said to be done."""
        self.look()
        listed = ", ".join(f"'{one}'" for one in LIVE)
        live = self.ask(f"SELECT name, state FROM attempts WHERE state IN ({listed})")
        self.wrong += [f"{name} is {state} at the end" for name, state in live]
        produced = self.ask(
            "SELECT hex(fingerprint), count(*) FROM outputs WHERE state = 'produced' GROUP BY fingerprint"
        )
        self.wrong += [f"{value} was produced {count} times" for value, count in produced if count != 1]
        made = {run for (run,) in self.ask("SELECT DISTINCT run FROM outputs WHERE state = 'produced'")}
        self.wrong += [f"run {run} was never made" for run in sorted(set(range(1, runs + 1)) - made)]
        known = set()
        for storage, folder, name, size, checksum in self.ask(
            "SELECT o.storage, o.folder, p.path, p.size, p.checksum FROM products p JOIN outputs o ON o.id = p.output"
            " WHERE o.state IN ('produced', 'lost')"
        ):
            path = Path(str(storage), str(folder), str(name))
            known.add(path)
            if not path.is_file() or path.stat().st_size != size:
                self.wrong.append(f"{path} is not there as recorded")
            elif f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" != checksum:
                self.wrong.append(f"{path} has another checksum than is recorded")
        self.wrong += [
            f"{path} was published, and nothing is recorded of it" for path in self.files.keys() - known
        ]
        self.wrong += [
            f"process {process} still works in an attempt's folder" for process in self.list_processes()
        ]

    def list_processes(self) -> list[str]:
        """The processes whose working folder is below that of the attempts."""
        found = []
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            try:
                here = os.readlink(f"/proc/{entry}/cwd")
            except OSError:
                continue
            if here.startswith(f"{self.state}/attempts/"):
                found.append(entry)
        return found


class Chaos:
    """One campaign, and all that happens to it."""

    def __init__(self, folder: Path, units: int, dice: random.Random) -> None:
        self.dice, self.units = dice, units
        self.runs, self.mode = units // 3, "all"
        self.counts: Counter[str] = Counter()
        self.mounted = self._mount(folder / ".b2prod")
        self.world = World(
            folder,
            ("max_units: 100, max_restate: 10", "max_units: 100000, max_restate: 100000, max_attempts: 4"),
            campaign=ONE_STEP,
            files=(1,) * units,
            slots=4,
        )
        self.world.templates = load_templates()
        self.state = self.world.state.folder
        self.judge = Judge(self.state)
        shim = folder / "shim"
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(SHIFT)
        self.environment = {**os.environ, "PYTHONPATH": f"{shim}:{Path(__file__).parents[1]}"}
        self.edit()
        for run in dice.sample(range(1, units + 1), max(1, units // 50)):
            self.world.behave("status 7", f"reco-{run}")

    def _mount(self, state: Path) -> bool:
        state.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "chaos", str(state)],
            capture_output=True,
            check=False,
        )
        return made.returncode == 0

    def close(self) -> None:
        for process in self.judge.list_processes():
            os.kill(int(process), signal.SIGKILL)
        if self.mounted:
            if self.judge.wrong:
                shutil.copytree(self.state, self.world.root / "state", symlinks=True)
            subprocess.run(["umount", "-l", str(self.state)], check=False)

    def edit(self) -> None:
        """The campaign as it is declared now, with its lock."""
        file = self.world.root / "productions/campaigns/proc7/campaign.yaml"
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            if "ranges:" in line:
                lines[number] = f'  - {{experiment: 3, ranges: "1-{self.runs}"}}'
            elif "trigger_mode:" in line:
                lines[number] = f"    parameters: {{trigger_mode: {self.mode}}}"
        file.write_text("\n".join(lines) + "\n")
        self.world.lock()

    def call(self, *words: str) -> int:
        """A command, to its end; its exit code."""
        done = subprocess.run(
            self._spell(*words), env=self._dress(), capture_output=True, text=True, check=False, timeout=300
        )
        self.counts[f"{words[0]} → {done.returncode}"] += 1
        if done.returncode in (1, 70) or "Traceback" in done.stderr:
            self.judge.wrong.append(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-800:]}")
        return done.returncode

    def _spell(self, *words: str) -> list[str]:
        return [TOOL, "--root", str(self.world.root), "--state", str(self.state), *words]

    def _dress(self) -> dict[str, str]:
        shift = self.dice.choice((0, 0, 0, 0, -7200, 7200, 90, -90)) if self.stirring else 0
        if shift:
            self.counts["clock jumps"] += 1
        return {**self.environment, "CHAOS_SHIFT": str(shift)}

    stirring = True

    def turn(self) -> None:
        """A reconciler, and how it ends."""
        with (self.world.root / "turns").open("a") as log:
            process = subprocess.Popen(
                self._spell("reconcile", "--once", "--lease", "5", "proc7"),
                env=self._dress(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        time.sleep(self.dice.uniform(1.0, 12.0))
        how = self.dice.choice(
            ("kill", "kill", "kill", "stop", "terminate", "interrupt", "disk", "levers", "edit")
        )
        if process.poll() is not None:
            how = "nothing"
        self.counts[f"reconcile: {how}"] += 1
        match how:
            case "stop":
                process.send_signal(signal.SIGSTOP)
                time.sleep(self.dice.uniform(1.0, 8.0))
                if self.dice.random() < 0.5:
                    self.call("reconcile", "--once", "--lease", "5", "proc7")
                process.send_signal(signal.SIGCONT)
            case "terminate":
                process.terminate()
            case "interrupt":
                process.send_signal(signal.SIGINT)
            case "disk":
                self.hurt_disk()
            case "levers":
                self.pull()
            case "edit":
                self.change()
        try:
            process.wait(self.dice.uniform(1.0, 10.0) if how != "kill" else 0.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def hurt_disk(self) -> None:
        """A disk that is full, or only to be read, for a while."""
        filler = self.state / "filler"
        readonly = self.mounted and self.dice.random() < 0.3
        try:
            if readonly:
                subprocess.run(
                    ["mount", "-o", "remount,ro", str(self.state)], check=False, capture_output=True
                )
            elif self.mounted:
                with filler.open("wb") as stream:
                    while True:
                        stream.write(bytes(1 << 20))
                        stream.flush()
            else:
                self.judge.storage.chmod(0o555)
        except OSError:
            pass
        self.counts["disk only to be read" if readonly else "disk full"] += 1
        time.sleep(self.dice.uniform(1.0, 6.0))
        if readonly:
            subprocess.run(["mount", "-o", "remount,rw", str(self.state)], check=False, capture_output=True)
        filler.unlink(missing_ok=True)
        if not self.mounted:
            self.judge.storage.chmod(0o755)

    def pull(self) -> None:
        """Somebody at the levers."""
        run = self.dice.randint(1, self.runs)
        unit = f"proc7/reco/3:{run}"
        act: Callable[[], object] = self.dice.choice(
            (
                lambda: self.call("pause", "all", "--reason", "chaos"),
                lambda: self.call("pause", "campaign:proc7", "--reason", "chaos"),
                lambda: self.call("cancel", unit, "--reason", "chaos"),
                lambda: self.call("quarantine", f"{unit}-{run + 5}", "--reason", "chaos"),
                lambda: self.call("settle", unit, "--absent", "--reason", "chaos"),
                lambda: self.call("retry", "proc7", "--reason", "chaos"),
            )
        )
        act()

    def change(self) -> None:
        """Somebody edits the campaign."""
        if self.dice.random() < 0.75 and self.runs < self.units:
            self.runs = min(self.units, self.runs + self.dice.randint(1, self.units // 6))
            self.counts["runs added"] += 1
        elif self.counts["parameter changed"] < 3:
            self.mode = "hlt" if self.mode == "all" else "all"
            self.counts["parameter changed"] += 1
        try:
            self.edit()
        except Exception as error:  # noqa: BLE001 -- the ledger is busy, or its disk is full: the next edit locks
            self.counts[f"edit: {type(error).__name__}"] += 1

    def release(self) -> None:
        """Everything may go on."""
        for scope in ("all", "campaign:proc7", "site:local"):
            self.call("resume", scope, "--reason", "on")
        self.call("retry", "proc7", "--reason", "on")

    def run(self, minutes: float) -> None:
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            self.turn()
            if self.dice.random() < 0.4:
                self.pull()
            if self.dice.random() < 0.3:
                self.change()
            if self.dice.random() < 0.5:
                self.release()
            self.judge.look()
        self.stirring = False
        shutil.rmtree(self.world.root / "behaviour", ignore_errors=True)
        self.runs = self.units
        self.edit()
        for _ in range(30):
            self.release()
            self.call("reconcile", "--once", "--lease", "5", "proc7")
            if self.call("plan", "proc7", "--exit-code") == 0:
                break
            time.sleep(1)
        else:
            self.judge.wrong.append("it does not come to an end")
        self.judge.finish(self.units)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--units", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="b2prod-chaos-"))
    chaos = Chaos(folder, chosen.units, random.Random(chosen.seed))
    try:
        chaos.run(chosen.minutes)
    finally:
        tried = dict(chaos.judge.ask("SELECT state, count(*) FROM attempts GROUP BY state"))
        chaos.close()
    judge = chaos.judge
    for what, count in sorted(chaos.counts.items()):
        print(f"{count:6}  {what}")
    print(f"attempts: {tried}; published files: {len(judge.files)}; looks: {judge.looks}")
    for text in dict.fromkeys(judge.wrong):
        print(f"WRONG: {text}")
    if judge.wrong:
        print(f"what happened is in {folder}; again by --seed {chosen.seed}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("nothing is wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
