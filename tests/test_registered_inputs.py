"""What was read is held against what was registered: bytes, and numbers of events."""

from __future__ import annotations

import hashlib
import json

import pytest

from ci.cli import run
from ci.exits import Exit
from renderer.jobs import InputFile, divide_input, render_job, write_job
from renderer.steering import load_templates
from schemas.document import read_yaml
from schemas.runs import run_key
from schemas.site import read_site
from tests.builders import SITE, read, tree
from tests.worlds import ONE_STEP, World

SIZES = "inputs: {verify: size}\n"


def render(site=SITE, events=None):
    """The JSON of a job that reads one registered file of proc7."""
    repository, _ = read(tree(site=site))
    campaign = repository.campaigns["proc7"].campaign
    step = campaign.steps[0]
    files = [InputFile("a.root", "/data/a.root", 1, "adler32:00000001", events)]
    (job,) = divide_input(step, files)
    prints = dict.fromkeys(step.outputs, b"0" * 32)
    return json.loads(
        write_job(
            render_job(campaign, step, repository, repository.sites["local"], run_key(3, 529), job, prints)
        )
    )


@pytest.mark.parametrize(
    ("events", "told"), [(None, {}), (0, {"events": 0}), (24, {"events": 24})], ids=["unknown", "none", "24"]
)
def test_a_job_is_told_how_many_events_are_registered(events, told):
    (item,) = render(events=events)["inputs"]
    assert item == {
        "name": "a.root",
        "path": "/data/a.root",
        "size": 1,
        "checksum": "adler32:00000001",
        **told,
    }


def test_a_job_verifies_checksums_unless_its_site_trusts_sizes():
    assert "verify" not in render()
    assert "verify" not in render(SITE + "inputs: {verify: checksum}\n")
    assert render(SITE + SIZES)["verify"] == "size"


@pytest.mark.parametrize(
    ("engine", "said", "verifies"),
    [("local", "", "checksum"), ("slurm", SIZES, "size"), ("gb2", "", None), ("gb2", SIZES, None)],
)
def test_what_is_verified_at_a_site(engine, said, verifies):
    text = SITE.replace("engine: local", f"engine: {engine}") + said
    document, _ = read_yaml("productions/sites/local.yaml", text.encode())
    assert read_site("local", document).verifies == verifies


def replace(world):
    """The content of run 1's file becomes another of the same size; both checksums."""
    file = world.root / "raw" / "raw.1.0.root"
    before = file.read_bytes()
    file.write_bytes(before.swapcase())
    return [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in (before, before.swapcase())]


def test_an_input_that_was_replaced_since_it_was_registered_makes_nothing(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    registered, found = replace(world)
    outcome = world.reconcile()
    assert outcome.produced == 1
    ((unit, reason),) = outcome.failed
    assert unit == "proc7/reco/3:1"
    assert reason.endswith(
        f"raw.1.0.root has the checksum {found}, registered was {registered}: it is not the file that was registered"
    )
    assert world.summary() == {"done": 1, "quarantined": 1}
    assert len(world.starts) == 1


def test_where_sizes_are_trusted_it_is_said_of_each_unit(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    world.templates = load_templates()
    world.lock()
    explain = ["--root", str(tmp_path), "--state", str(world.state.folder), "explain", "proc7/3:1"]
    words = "inputs are held against their registered sizes alone, as local says: `inputs: {verify: size}`"
    assert run(explain) == Exit.FINE
    assert words not in capsys.readouterr().out
    site = world.root / "productions/sites/local.yaml"
    site.write_text(site.read_text() + SIZES)
    world.pin()
    world.lock()
    replace(world)
    assert world.reconcile().produced == 2
    assert run(explain) == Exit.FINE
    assert words in capsys.readouterr().out
    assert run([*explain, "--json"]) == Exit.FINE
    (told,) = json.loads(capsys.readouterr().out)
    assert told["verifies"] == "size"
