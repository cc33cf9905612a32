"""The example of a review in docs/: proc8 proposed after proc7, from this repository's own manifests and stand-ins.

`python -m tests.support.worlds.example` writes it again.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert

from ci.changes.change import read_change
from ci.changes.export import reading_export, write_export
from ci.changes.gates import RECONCILER
from ci.changes.project import Project
from ci.review.summary import gather_review
from ci.review.text import format_review
from reconciler.ledger.schema import tables
from reconciler.ledger.store.database import State, opened
from reconciler.model.run import File, Run
from reconciler.planning.pinning import pin_campaign
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from renderer.identity.fingerprint import write_recipes
from renderer.steering import load_templates
from schemas.files.canonical import canonical_json
from schemas.files.tree import SCHEMES, read_tree
from schemas.repository import read_repository
from tests.support.inputs.keys import make_key
from tests.support.worlds.history import History, make_history

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docs" / "example-review.md"
NOW = datetime(2019, 2, 15, 12, 0, tzinfo=UTC)
PROC8 = "productions/campaigns/proc8"
TAG = "productions/global-tags/data_reprocessing_proc8.iov"
"""The stand-in for the tag has no number, but paths need one at launch."""

INTRODUCTION = """\
# A review, as its reviewers get it

What `b2prod review` says when proc8 is proposed over proc7: the comment of the pull request, in which each change of the
branch is edited in. The manifests are those of this repository; runs, files and what proc7 took are stand-ins.
`python -m tests.support.worlds.example` writes this page anew, and a test holds it up to date.

---

"""


def propose(folder: Path) -> tuple[History, str, str]:
    """A repository in which proc8 is proposed, with base and head. It has no schemes, so nothing waits at a gate."""
    files = {name: data for name, data in read_tree(ROOT)[0].items() if not name.startswith(f"{SCHEMES}/")}
    key = make_key(folder, "reconciler")
    history = make_history(
        folder / "origin",
        {name: content for name, content in files.items() if not name.startswith(f"{PROC8}/")}
        | {RECONCILER: key.public, TAG: files[TAG].replace(b"# state:", b"# id: 999\n# state:")},
    )
    base = history.git("rev-parse", "HEAD")
    manifest = files[f"{PROC8}/campaign.yaml"].decode().replace("state: held\n", "")
    history.write(
        {f"{PROC8}/campaign.yaml": manifest, f"{PROC8}/campaign.lock": files[f"{PROC8}/campaign.lock"]}
    )
    return history, base, lock(history)


def lock(history: History) -> str:
    """The commit that locks proc8 as in the work tree."""
    repository, findings = read_repository(read_tree(history.root)[0], load_templates())
    assert not findings, findings
    declared = repository.campaigns["proc8"]
    assert declared.lock is not None
    made = pin_campaign(declared, repository, declared.lock.runs, 1)
    return history.commit("proc8", **{f"{PROC8}/campaign.lock": made.text()})


def record(state: State) -> None:
    """Records runs and RAW files, and two units of proc7 with their resources."""
    repository, _ = read_repository(read_tree(ROOT)[0], load_templates())
    proc7 = repository.campaigns["proc7"]
    assert proc7.lock is not None
    runs = [key & 0xFFFFFFFF for key in proc7.lock.runs]
    found = [
        File(
            3,
            run,
            "raw",
            f"physics.{run}.{part}.root",
            f"/raw/{run}.{part}",
            9_000_000_000 + run,
            f"ad:{run:07x}{part:x}",
            60_000 + run,
        )
        for run in runs
        for part in range(1 + run % 3)
    ]
    with opened(state) as engine:
        import_runs(engine, [Run(3, run, "physics", energy="4S") for run in runs])
        import_files(engine, found)
        with engine.begin() as connection:
            reco = proc7.campaign.steps[0]
            recipes = write_recipes(proc7.campaign, reco, repository)
            plan = {"digest": "0" * 64, "content": b"", "begun": "2019-01-05T00:00:00Z", "serial": 0}
            connection.execute(insert(tables.plans).values(**plan))
            for number, recipe in enumerate(recipes, 1):
                content = canonical_json(recipe.content)
                connection.execute(
                    insert(tables.recipes).values(id=number, digest=recipe.digest, content=content)
                )
            for intent, run in enumerate(runs[:2], 1):
                place = {"campaign": "proc7", "step": "reco", "experiment": 3, "run": run}
                connection.execute(
                    insert(tables.intents).values(id=intent, plan="0" * 64, state="produced", **place)
                )
                connection.execute(insert(tables.jobs).values(id=intent, intent=intent, key="0", failures=0))
                attempt = {
                    "id": intent,
                    "job": intent,
                    "number": 1,
                    "name": f"b2p-{run}",
                    "nonce": "",
                    "site": "kekcc",
                }
                connection.execute(
                    insert(tables.attempts).values(
                        **attempt, state="verified", begun="", fence=0, absences=0, cpu_seconds=66_000.0
                    )
                )
                for number, recipe in enumerate(recipes, 1):
                    output = {
                        **place,
                        "id": intent * 10 + number,
                        "intent": intent,
                        "output": recipe.output,
                        "fingerprint": bytes([intent, number]) * 16,
                        "recipe": number,
                        "input": "",
                        "state": "produced",
                        "version": 1,
                        "storage": "/group/belle2/dataprod/Data",
                        "folder": "",
                        "events": 60_000,
                        "events_read": 60_000,
                    }
                    connection.execute(insert(tables.outputs).values(**output))
                    product = {"output": intent * 10 + number, "path": "a.root", "attempt": intent}
                    size = 60_000 * (12_000, 25_000, 30_000)[number - 1]
                    connection.execute(
                        insert(tables.products).values(**product, size=size, checksum="", events=60_000)
                    )


def write_review(folder: Path) -> str:
    """The comment, with placeholders for what changes each time."""
    history, base, head = propose(folder)
    state, export = State(folder / "state"), folder / "state.zip"
    record(state)
    write_export(state, export, folder / "reconciler", NOW - timedelta(hours=3))
    change = read_change(history.root, base, head)
    with reading_export(export, change.before, NOW) as (copy, origin):
        project = replace(Project(history.root, copy), change=change, origin=origin)
        text = format_review(gather_review(project, change, NOW))
    for name, pattern in (("id", r"(?<=base |head |plan )[0-9a-f]{12}"), ("id", r"(?<=ledger )[0-9a-f]{8}")):
        text = re.sub(pattern, "0123456789ab" if name == "id" else "", text)
    return re.sub(r"SHA256&#58;[A-Za-z0-9/&#;]+", "SHA256&#58;0123", text)


def write_page(folder: Path) -> str:
    return INTRODUCTION + write_review(folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        FILE.write_text(write_page(Path(scratch)))
