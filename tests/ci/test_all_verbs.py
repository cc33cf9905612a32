"""Every verb on a bad day: each command of the command line, as the tree of commands has them, in states that are not well.

A new verb is in it by itself: its arguments are taken by their names, and how exactly it ends may be said in `ENDS`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click

from ci.cli.exits import Exit
from ci.verbs import VERBS, load_verb
from renderer.steering import load_templates
from tests.support.worlds.calibration_world import SCHEME
from tests.support.worlds.command_lines import Ended, run_lines
from tests.support.worlds.older_states import make_state
from tests.support.worlds.worlds import ONE_STEP, World

pytestmark = pytest.mark.slow

SAMPLES = {
    "name": "proc7",
    "names": "proc7",
    "before": "proc7",
    "after": "other",
    "scope": "all",
    "unit": "proc7/reco/3:1",
    "what": "proc7/reco/3:1",
    "lumi show what": "proc7",
    "fence": "1",
    "which": "3:1",
    "campaign": "proc7",
    "new": "tag_b",
    "gt pull name": "tag_a",
    "gt show name": "tag_a",
    "gt iov name": "tag_a",
    "gt check name": "tag_a",
    "gt impact name": "tag_a",
    "gt diff before": "tag_a",
    "gt diff after": "tag_b",
    "new name": "proc8",
    "dataset show name": "proc7/reco/mdst",
    "dataset files name": "proc7/reco/mdst",
    "dataset diff before": "proc7/reco/mdst",
    "dataset diff after": "proc7/reco/mdst",
    "plan": "plan.json",
    "file": "some.txt",
    "source": "some.txt",
    "sources": "some.txt",
    "definitions": "some.txt",
    "info": "some.txt",
    "listed": "3:1",
    "place": "local",
    "role": "proposer",
    "reason": "x",
    "level": "raw",
    "method": "offline",
    "version": "1",
    "lumi import unit": "pb",
    "tags": "tag_a",
    "project": "1",
    "number": "1",
    "output": "out.file",
    "handover output": "handed",
    "report output": "pages",
    "payloads return output": "trials",
    "scheme": "proc8",
    "stage": "calibrate",
    "folder": "results",
}
"""What is given for an argument or an option that must be, by its name, or by that behind the verb's; else a file of no use."""

MORE = {
    "approve": ["proc7", "--role", "release"],
    "approvals": ["proc7"],
    "reconcile": ["--once"],
    "settle": ["--absent"],
    "post": ["--gitlab", "http://127.0.0.1:9"],
    "gt pull": ["--from", "nowhere"],
    "gt follow": ["--from", "nowhere"],
    "gt check": ["--against", "nowhere"],
    "files verify": ["--level", "cdst"],
}
"""What else a verb needs so that it does what it is there for, and reaches no network."""


def walk(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The commands that do something, each with its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    for name in command.list_commands(None):
        yield from walk((*path, name), command.get_command(None, name))


COMMANDS = {" ".join(path): one for name in VERBS for path, one in walk((name,), load_verb(name))}


def write_line(verb: str, command: click.Command) -> list[str]:
    """A command line with all that the command must have."""
    words = verb.split()
    for one in command.params:
        if not one.required and not (isinstance(one, click.Argument) and one.name in ("names", "sources")):
            continue
        value = SAMPLES.get(f"{verb} {one.name}", SAMPLES.get(one.name or "", "some.txt"))
        words += [value] if isinstance(one, click.Argument) else [one.opts[-1], value]
    return [*words, *MORE.get(verb, [])]


@pytest.fixture
def world() -> Iterator[World]:
    """A world that others may look into: two units are made, and a second campaign is like the first."""
    root = Path(tempfile.mkdtemp(prefix="b2prod-verbs-"))
    root.chmod(0o755)
    campaign = ONE_STEP.replace("A campaign of a test", "Düsseldorf → Tsukuba … ±1")
    made = World(root, campaign=campaign)
    made.templates = load_templates()
    made.write("productions/campaigns/other/campaign.yaml", campaign)
    made.write(
        "productions/global-tags/tag_b.iov",
        (root / "productions/global-tags/tag_a.iov").read_text().replace("tag_a", "tag_b"),
    )
    made.write("some.txt", "nothing of use\n")
    made.write("productions/schemes/proc8.yaml", SCHEME)
    made.write("results/caf_outputdb_results/CDC/database.txt", "dbstore/CDCTimeZeros 1 3,1,-1,-1\n")
    made.lock()
    made.reconcile("proc7")
    made.write("plan.json", json.dumps({**made.store("proc7"), "created": "2019-02-15T09:00:00Z"}))
    yield made
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(root)


def tell(ended: list[Ended]) -> str:
    return "\n".join(f"{one.line}: {one.code}\n{one.text}" for one in ended)


BROKEN = (
    "campaigns/proc7/campaign.yaml",
    "campaigns/proc7/campaign.lock",
    "campaigns/other/campaign.yaml",
    "sites/local.yaml",
    "skims/menu.yaml",
    "global-tags/tag_a.iov",
    "layouts.yaml",
    "releases.yaml",
    "roles.yaml",
    "retirements/x.yaml",
    "validations/x.yaml",
)


def break_manifests(world: World) -> dict[str, str]:
    for place in BROKEN:
        world.write(f"productions/{place}", "a: [")
    return {}


def take_state(world: World) -> dict[str, str]:
    shutil.rmtree(world.state.folder)
    return {}


def close_state(world: World) -> dict[str, str]:
    for path in (world.state.folder, *world.state.folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return {}


def speak_ascii(world: World) -> dict[str, str]:
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def age_state(world: World) -> dict[str, str]:
    shutil.rmtree(world.state.folder)
    make_state(world.state, "0004")
    return {}


WAYS = (break_manifests, take_state, close_state, speak_ascii, age_state)

ENDS = """
check            1 0 0 0 0
diff             1 0 0 0 3
resolve          1 4 0 0 3
render           1 4 0 0 3
approvals        1 0 0 0 3
try              1 4 0 0 3
plan             1 4 0 0 3
apply            1 4 4 0 3
reconcile        1 4 4 0 3
resume           0 4 4 0 3
cancel           0 4 4 0 3
retry            0 4 4 0 3
quarantine       0 4 4 0 3
settle           0 4 4 0 3
status           0 4 0 0 3
retention        0 4 0 0 3
explain          0 4 0 0 3
runs             0 4 0 0 3
runs quarantine  0 4 0 0 3
runs remove      0 4 4 0 3
runs restore     0 4 4 0 3
files list       0 4 0 0 3
dataset list     0 4 0 0 3
dataset show     0 4 0 0 3
dataset files    0 4 0 0 3
dataset diff     0 4 0 0 3
lumi show        0 4 0 0 3
gt show          1 0 0 0 0
gt iov           1 0 0 0 0
gt used          0 4 0 0 3
state export     0 4 4 0 3
"""
"""How verbs end, in the order of `WAYS`. Of one that is not named: not by a defect, and on an older state as `STATELESS` says."""

STATELESS = {
    *(
        "new",
        "scheme next",
        "import-b2skim",
        "check",
        "review",
        "post",
        "gt show",
        "gt iov",
        "gt check",
        "gt pull",
        "state show",
    ),
    *("runs import", "files import", "lumi import"),  # they read first what they are given
    *("migrate", "doctor"),
    *(verb for verb in COMMANDS if verb.startswith("state ")),  # they look at states of whatever version
} - {"state export", "state rebuild"}
"""What does something on a state of another version, or needs none."""

SPAWNING = {"files verify", "try"}
"""What starts interpreters, which a reader may not do where Python lies in somebody's closed home."""


def read_ends(way: object) -> dict[str, int]:
    place = [one.__name__ for one in WAYS].index(way.__name__)
    rows = (line.rsplit(maxsplit=len(WAYS)) for line in ENDS.strip().splitlines())
    return {verb.strip(): int(codes[place]) for verb, *codes in rows}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_verb_ends_as_it_should_and_never_with_a_traceback(world, way):
    environment = way(world)
    as_reader = way is close_state
    verbs = [verb for verb in COMMANDS if not (as_reader and verb in SPAWNING)]
    lines = [write_line(verb, COMMANDS[verb]) for verb in verbs]
    if way is take_state:  # each finds none, whatever the one before has made
        lines = [["--state", str(world.root / f"none{number}"), *line] for number, line in enumerate(lines)]
    ended = run_lines(lines, world.root, environment, as_reader=as_reader)
    expected = read_ends(way)
    wrong = []
    for verb, one in zip(verbs, ended, strict=True):
        well = one.code == expected.get(verb, one.code) and one.code in {*Exit} - {Exit.DEFECT}
        if way is age_state and verb not in STATELESS:
            well = well and one.code == Exit.USAGE and "`b2prod migrate` brings it there" in one.err
        if not well or "Traceback" in one.text:
            wrong.append(one)
    assert not wrong, tell(wrong)
