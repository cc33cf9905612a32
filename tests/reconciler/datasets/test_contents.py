"""What is in a dataset: the files and runs that count, of campaigns in any state, and of files that were adopted."""

from __future__ import annotations

import hashlib
import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.datasets.contents import stream_files, stream_runs
from reconciler.ledger.store.database import opened, reading
from reconciler.model.run import File
from reconciler.planning.declared_heads import declare_head
from reconciler.run_catalogue.dataset_register import Provenance
from reconciler.run_catalogue.file_decision import Replica
from reconciler.run_catalogue.file_register import import_files
from renderer.steering import load_templates
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_run, parse_runs
from tests.support.worlds.worlds import ONE_STEP, World

MADE = parse_dataset("proc7/reco/mdst")
OLD = "prod6/reco/mdst"


def adopt(world: World, run: int, name: str, **more) -> File:
    """Registers a file of another production; it exists nowhere."""
    checksum = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    more = {"events": 10, "dataset": OLD, **more}
    file = File(3, run, "mdst", name, f"/old/{name}", 1000, checksum, **more)
    with opened(world.state) as engine:
        import_files(engine, [file], provenance=Provenance("release-02-00-01", "data_prod6"))
    return file


def show(world: World, name=MADE, runs=None, declared=False):
    """Run, version, maker and name of each file of a dataset."""
    with reading(world.state) as connection:
        head = declare_head(connection, world.repository(), name, world.state) if declared else None
        chosen = None if runs is None else parse_runs(runs)
        found = [*stream_files(connection, name, chosen, head)]
        sums = [*stream_runs(connection, name, chosen, head)]
    by_run: dict[int, list] = {}
    for one in found:
        by_run.setdefault(one.run, []).append(one)
    assert [one.run for one in sums] == [*by_run]
    for one in sums:
        here = by_run[one.run]
        assert (one.files, one.bytes) == (len(here), sum(file.size for file in here))
        assert {one.maker} == {file.maker for file in here}
        if one.version is not None:
            assert {(one.version, one.identity)} == {(file.version, file.fingerprint) for file in here}
    return [(format_run(one.run), one.version, one.maker, one.path.rpartition("/")[2]) for one in found]


@pytest.mark.usefixtures("database")
def test_the_newest_version_of_each_run_counts_and_of_a_live_campaign_what_is_made_as_declared(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    first = [("3:1", 1), ("3:1", 1), ("3:2", 1)]
    assert [row[:2] for row in show(world)] == first
    assert show(world, declared=True) == show(world)
    assert [row[:2] for row in show(world, runs="3:2-7")] == [("3:2", 1)]
    assert show(world, runs="3:7") == []
    many = " ".join(["3:" + ",".join(str(number) for number in range(2, 600, 2))])
    assert [row[:2] for row in show(world, runs=many)] == [("3:2", 1)], "more ranges than a query names"
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    assert [row[:2] for row in show(world)] == first
    assert show(world, declared=True) == [], "nothing is made as it is declared now"
    world.reconcile()
    assert [row[:2] for row in show(world)] == [("3:1", 2), ("3:1", 2), ("3:2", 2)]
    assert show(world, declared=True) == show(world)
    world.change(("trigger_mode: hlt", "trigger_mode: all"))
    assert [row[:2] for row in show(world, declared=True)] == first, "the first version counts again"
    world.change(("site: local", "site: local\nstate: stopped"), lock=False)
    assert show(world, declared=True) == show(world), "it is not planned: the newest counts"


@pytest.mark.usefixtures("database")
def test_what_was_taken_over_is_in_the_dataset_and_it_is_said_from_whom(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.reconcile()
    world.write("productions/campaigns/proc8/campaign.yaml", ONE_STEP.replace('"1-2"', '"1-3"'))
    world.register_runs([3])
    world.register(3, "raw.3.0.root")
    world.lock()
    world.reconcile("proc8")
    taken = parse_dataset("proc8/reco/mdst")
    assert show(world, taken) == [("3:3", 1, "proc8/reco/mdst", show(world, taken)[0][3])]
    found = show(world, taken, declared=True)
    assert [row[:3] for row in found] == [
        *[("3:1", 1, "proc7/reco/mdst")] * 2,
        ("3:2", 1, "proc7/reco/mdst"),
        ("3:3", 1, "proc8/reco/mdst"),
    ]
    assert [row[:3] for row in show(world, taken, "3:2-3", declared=True)] == [row[:3] for row in found[2:]]
    world.change(("layout: plain", "layout: plain\nreuse: never"), campaign="proc8")
    assert [row[0] for row in show(world, taken, declared=True)] == ["3:3"]


@pytest.mark.usefixtures("database")
def test_adopted_files_have_their_replicas_and_no_version(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    file = adopt(world, 2, "b.root")
    adopt(world, 1, "z.root")
    adopt(world, 1, "a.root", dataset="other/reco/mdst")
    with opened(world.state) as engine:
        copy = File(3, 2, "mdst", "b.root", "/copy/b.root", 1000, file.checksum, 10, dataset=OLD)
        import_files(engine, [], [Replica(copy)])
    assert show(world, parse_dataset(OLD)) == [("3:1", None, OLD, "z.root"), ("3:2", None, OLD, "b.root")]
    with reading(world.state) as connection:
        (found,) = stream_files(connection, parse_dataset(OLD), parse_runs("3:2"))
        raw = [*stream_files(connection, parse_dataset("detector/raw"))]
    assert (found.path, found.replicas) == ("/old/b.root", ("/copy/b.root",))
    assert len(raw) == 3


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """proc7 was made and is live, gone is not declared any more, prod6 was adopted, and some files are nobody's."""
    made = World(tmp_path_factory.mktemp("world"), campaign=ONE_STEP)
    made.templates = load_templates()
    gone = ONE_STEP.replace("trigger_mode: all", "trigger_mode: hlt")
    made.write("productions/campaigns/gone/campaign.yaml", gone)
    made.lock()
    made.reconcile()
    (made.root / "productions/campaigns/gone/campaign.yaml").unlink()
    (made.root / "productions/campaigns/gone/campaign.lock").unlink()
    adopt(made, 1, "old.1.root")
    adopt(made, 2, "old.2.root", events=None)
    adopt(made, 1, "whose.root", dataset="unassigned/mdst")
    return made


@pytest.fixture
def b2prod(world, capsys):
    def call(*words):
        capsys.readouterr()
        code = run(["--root", str(world.root), *words])
        return code, *capsys.readouterr()

    return call


def test_list_says_whose_data_there_are(b2prod):
    code, out, told = b2prod("dataset", "list")
    assert code == Exit.FINE
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["detector/raw"][:4] == ["raw", "detector", "2", "3"]
    assert rows["proc7/reco/mdst"] == ["mdst", "made", "2", "3", *rows["proc7/reco/mdst"][4:6], "active"]
    assert rows["gone/reco/mdst"][-2:] == ["not", "declared"]
    assert rows[OLD] == ["mdst", "adopted", "2", "2", "≥", "10", "0.0"]
    assert rows["unassigned/mdst"][1] == "unassigned"
    assert "--dataset CAMPAIGN/STEP/OUTPUT" in told
    listed = json.loads(b2prod("dataset", "list", "--json")[1])
    assert [one["name"] for one in listed] == sorted(set(rows) - {"dataset"})
    assert {one["name"]: one["uncounted"] for one in listed}[OLD] == 1


def test_files_are_written_as_lines_paths_and_json_lines(b2prod, world):
    code, out, _ = b2prod("dataset", "files", "proc7/reco/mdst", "--paths")
    assert code == Exit.FINE
    storage = world.state.storage("data")
    made = sorted(str(path) for path in storage.rglob("*.root") if "proc7" in str(path))
    assert sorted(out.splitlines()) == made
    lines = [
        json.loads(line) for line in b2prod("dataset", "files", "proc7/reco/mdst", "--json")[1].splitlines()
    ]
    assert [line["path"] for line in lines] == out.splitlines()
    assert [line["run"] for line in lines] == ["3:1", "3:1", "3:2"]
    (line,) = b2prod("dataset", "files", "proc7/reco/mdst", "--run", "3:2")[1].splitlines()
    assert line.split()[0] == "3:2"
    assert line.endswith(lines[2]["path"])
    code, out, told = b2prod("dataset", "files", "proc7/reco/mdst", "--run", "3:9")
    assert (code, out, told) == (Exit.FINE, "", "proc7/reco/mdst has no files of 3:9\n")
    assert b2prod("dataset", "files", "gone/reco/mdst", "--paths")[1].count("\n") == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("proc7/reco/mdts", "there is no dataset proc7/reco/mdts; did you mean `proc7/reco/mdst`?"),
        ("proc7", "'proc7' is not a name of a dataset"),
        ("proc7/reco", "there is no dataset proc7/reco; did you mean"),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(b2prod, name, said):
    code, out, told = b2prod("dataset", "files", name)
    assert (code, out) == (Exit.USAGE, "")
    assert said in told


def test_show_says_how_a_dataset_was_made_and_from_what(b2prod, world):
    code, out, _ = b2prod("dataset", "show", "proc7/reco/mdst", "--json", "--statistics")
    assert code == Exit.FINE
    told = json.loads(out)
    lock = world.repository().campaigns["proc7"].lock
    assert told["lock"] == {"generation": lock.generation, "digest": lock.digest()}
    assert {
        key: told[key] for key in ("kind", "campaign", "runs", "listed", "selected", "files", "versions")
    } == {
        "kind": "made",
        "campaign": "active",
        "runs": 2,
        "listed": "3:1-2",
        "selected": 2,
        "files": 3,
        "versions": {"v1": 2},
    }
    assert told["made_from"] == {"detector/raw": 2}
    assert [recipe["release"] for recipe in told["recipes"]] == ["release-03-00-00"]
    assert told["global_tags"] == ["tag_a"]
    assert told["template"] == "raw_to_mdst/1"
    assert told["statistics"]["jobs"] == 3
    gone = b2prod("dataset", "show", "gone/reco/mdst")[1]
    assert "campaign" in gone
    assert "not declared" in gone
    assert "made from" in gone
    old = json.loads(b2prod("dataset", "show", OLD, "--json")[1])
    assert (old["kind"], old["release"], old["global_tag"]) == ("adopted", "release-02-00-01", "data_prod6")
    assert (old["events"], old["runs_not_counted"]) == (10, 1)


def test_diff_says_why_two_datasets_are_not_the_same(b2prod):
    code, out, _ = b2prod("dataset", "diff", "proc7/reco/mdst", "gone/reco/mdst", "--exit-code")
    assert code == Exit.CHANGES
    assert "0 runs with the same fingerprint" in out
    assert "2 runs: steering changed: 3:1-2\n" in out
    code, out, _ = b2prod("dataset", "diff", "proc7/reco/mdst", "proc7/reco/mdst", "--exit-code")
    assert code == Exit.FINE
    code, out, _ = b2prod("dataset", "diff", OLD, "proc7/reco/mdst", "--json", "--run", "3:1")
    (changed,) = json.loads(out)["changed"]
    assert (changed["reason"], changed["runs"]) == ("one was adopted, and b2prod does not know how", "3:1")
