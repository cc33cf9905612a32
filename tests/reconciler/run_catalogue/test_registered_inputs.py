"""What was read is held against what was registered: bytes, and numbers of events."""

from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import select, update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.datasets.verification.counting import find_miscounts
from reconciler.ledger.schema.tables import attempts, jobs, outputs, runs
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.operator_actions import OperatorActions, Scope
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.run import File, Run
from reconciler.run_catalogue.catalogue import read_files
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from renderer.jobs.job_json import InputFile, StepJobs, divide_input
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.policy.site import read_site
from schemas.yaml.document import read_yaml
from tests.support.worlds.builders import SITE, read, tree
from tests.support.worlds.worlds import ONE_STEP, World

SIZES = "inputs: {verify: size}\n"


def render(site=SITE, events=None, names=("a.root",)):
    """The JSON of a job that reads one registered file of proc7, or a set of them."""
    repository, _ = read(tree(site=site))
    campaign = repository.campaigns["proc7"].campaign
    step = campaign.steps[0]
    files = [InputFile(name, f"/data/{name}", 1, "adler32:00000001", events) for name in names]
    (job,) = divide_input(step, files)
    prints = dict.fromkeys(step.outputs, b"0" * 32)
    jobs = StepJobs(campaign, step, repository, repository.sites["local"])
    return json.loads(jobs.write(run_key(3, 529), job, prints))


def test_a_job_names_the_first_file_of_a_set_and_lists_its_parts():
    rendered = render(names=("a.sroot-1", "a.sroot", "a.sroot-2"))
    assert [one["name"] for one in rendered["inputs"]] == ["a.sroot"]
    assert [one["name"] for one in rendered["parts"]] == ["a.sroot-1", "a.sroot-2"]
    assert "parts" not in render()


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


def count(world, run_number, files, recorded=None):
    """Registers files of a run, each with so many events, and how many the run has."""
    for number, events in enumerate(files):
        world.register(run_number, f"raw.{run_number}.{number}.root", events=events)
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, run_number, "physics", recorded)])


@pytest.mark.parametrize(
    ("files", "recorded", "said"),
    [
        ((4, 4), 8, None),
        ((4, 3), 8, None),
        ((4, 4), None, None),
        ((4, None), 4, None),
        (
            (4, None),
            3,
            "its files in detector/raw are registered with at least 4 events, the run itself with 3",
        ),
        ((4, 4), 7, "its files in detector/raw are registered with 8 events, the run itself with 7"),
        ((0, 1), 0, "its files in detector/raw are registered with 1 events, the run itself with 0"),
    ],
)
def test_a_run_with_more_events_than_it_has_is_blocked(tmp_path, files, recorded, said):
    world = World(tmp_path)
    count(world, 1, files, recorded)
    groups = [group for group in world.groups() if "3:1" in group[2]]
    blocked = [("blocked", "reco", "3:1", said), ("waiting", "thin", "3:1", "waits for reco")]
    runs = ("submit", "reco", "3:1-2", "not produced"), ("submit", "thin", "3:1-2", "not produced")
    assert groups == (blocked if said else list(runs))


def test_other_levels_and_what_was_made_before_are_not_blocked(tmp_path):
    world = World(tmp_path, files=(1, 1))
    count(world, 1, (4,), 4)
    assert world.reconcile().produced == 4
    count(world, 1, (4,), 3)
    assert world.summary() == {"done": 4}
    with opened(world.state) as engine:
        import_files(engine, [File(3, 2, "mdst", "x.root", "/x.root", 1, "adler32:00000001", 9)])
        import_runs(engine, [Run(3, 2, "physics", 3)])
    assert world.summary() == {"done": 4}


MISCOUNTS = {
    "fewer than are registered": (
        "1 1 null",
        "input",
        "the job read 1 events, its input files are registered with 4",
    ),
    "more than are registered": (
        "9 1 null",
        "input",
        "the job read 9 events, its input files are registered with 4",
    ),
    "more kept than read": ("4 5 5", "permanent", "mdst.1.0.root holds 5 events, the job read 4"),
    "more kept than registered": (
        "null 5 null",
        "permanent",
        "mdst.1.0.root holds 5 events, its input files are registered with 4",
    ),
    "more stated than kept": (
        "4 3 1000000000",
        "infrastructure",
        "mdst: mdst.1.0.root holds 3 events, the result states 1,000,000,000",
    ),
    "fewer stated than kept": (
        "4 3 2",
        "infrastructure",
        "mdst: mdst.1.0.root holds 3 events, the result states 2",
    ),
}


@pytest.mark.parametrize("miscount", MISCOUNTS)
def test_counts_that_contradict_one_another_are_no_success(tmp_path, miscount):
    behaviour, kind, reason = MISCOUNTS[miscount]
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    count(world, 1, (4,))
    world.behave(f"counts {behaviour}", "reco-1")
    assert world.reconcile().produced == 1
    failed = [row for row in world.rows(attempts, "state", "failure", "reason") if row[0] == "failed"]
    assert set(failed) == {("failed", kind, reason)}
    assert len(world.published()) == 1


@pytest.mark.parametrize(
    ("behaviour", "read", "kept"),
    [("4 4 4", 4, 4), ("4 0 0", 4, 0), ("4 3 null", 4, 3), ("null 3 3", None, 3)],
)
def test_what_is_counted_is_what_the_ledger_says(tmp_path, behaviour, read, kept):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1))
    count(world, 1, (4,))
    world.behave(f"counts {behaviour}", "reco-1")
    assert world.reconcile().produced == 2
    assert (1, read, kept) in world.rows(outputs, "run", "events_read", "events")


def test_jobs_together_read_no_more_than_their_run_has(tmp_path):
    """Nothing is known of the files, and each job alone reads no more than there is."""
    world = World(tmp_path, campaign=ONE_STEP, files=(3, 1))
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 1, "physics", 4), Run(3, 2, "physics", 4)])
    world.behave("counts 2 2 2", "reco-1")
    outcome = world.reconcile()
    ((unit, reason),) = outcome.failed
    assert (unit, reason) == (
        "proc7/reco/3:1",
        "the unit read 6 events, its run has 4 in the run catalogue",
    )
    assert outcome.produced == 1
    assert len(world.published()) == 1


@pytest.mark.parametrize(
    ("said", "produced"), [("6 6 6", 4), ("null 6 6", 4), ("5 5 5", 3), ("7 6 6", 3), ("null 7 7", 3)]
)
def test_a_step_is_held_to_what_was_counted_in_the_files_of_the_step_before(tmp_path, said, produced):
    world = World(tmp_path, files=(2, 1))
    world.behave("counts 3 3 3", "reco-1")
    world.behave(f"counts {said}", "thin-1")
    assert world.reconcile().produced == produced


def find(world):
    with reading(world.state) as connection:
        return [flaw.text for flaw in find_miscounts(connection, "proc7")]


def test_verify_holds_all_counts_against_one_another(tmp_path, capsys):
    world = World(tmp_path, campaign=ONE_STEP, files=(2,))
    world.change(('ranges: "1-2"', 'ranges: "1"'))
    count(world, 1, (4, 4), 8)
    assert world.reconcile().produced == 1
    assert find(world) == []
    cases = (
        (outputs, "events_read", 1, "its unit read 1 events, its input files are registered with 8"),
        (outputs, "events", 9, "it holds 9 events, its unit read 8"),
        (jobs, "events", 5, "its unit read 8 events, its input files are registered with 10"),
        (runs, "events", 7, "its unit read 8 events, its run has 7 in the run catalogue"),
        (jobs, "events", None, None),
        (outputs, "events_read", None, None),
        (runs, "events", 9, None),
    )
    for table, name, value, said in cases:
        with opened(world.state) as engine, engine.begin() as connection:
            (before,) = set(connection.scalars(select(table.c[name])))
            connection.execute(update(table).values({name: value}))
        assert find(world) == ([f"proc7/reco/3:1 mdst v1: {said}"] if said else []), (table.name, name, value)
        if value == 7:
            call = ["--root", str(world.root), "--state", str(world.state.folder), "verify", "proc7"]
            assert run(call) == Exit.FINDINGS
            assert f"proc7: wrong: proc7/reco/3:1 mdst v1: {said}\n" in capsys.readouterr().out
        with opened(world.state) as engine, engine.begin() as connection:
            connection.execute(update(table).values({name: before}))


def test_a_unit_that_was_accepted_without_a_job_is_held_to_the_others(tmp_path):
    world = World(tmp_path, ("max_restate: 10", "max_restate: 10, max_attempts: 1"), campaign=ONE_STEP)
    count(world, 1, (4, 4), 8)
    with reading(world.state) as connection:
        one, _ = divide_input(
            world.state_view().views[0].units[0].step, read_files(connection, "detector/raw", run_key(3, 1))
        )
    world.behave("status 7", f"reco-{one.key}")
    assert world.reconcile().produced == 1
    with opened(world.state) as engine:
        levers = OperatorActions(Writer(engine, None), "shifter@example.org")
        levers.accept_incomplete(Scope("proc7/reco/3:1", "proc7", "reco", frozenset([run_key(3, 1)])), "lost")
    world.reconcile()
    assert world.summary() == {"done": 2}
    assert (1, 4, 4) in world.rows(outputs, "run", "events_read", "events")
    assert find(world) == []
