"""Simulated events are told where they come in, and nothing that declares real data is made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.datasets.verification.file_check import Depth, examine
from reconciler.ledger.schema.tables import files, runs
from reconciler.ledger.store.database import opened
from reconciler.model.run import File
from reconciler.run_catalogue import file_import
from reconciler.run_catalogue.file_register import import_files
from renderer.event_data.file_metadata import FileMetadata, read_metadata
from renderer.steering import load_templates
from schemas.repository import read_repository
from schemas.rules import check_repository
from tests.support.inputs.published_files import published
from tests.support.worlds.builders import campaign, tree
from tests.support.worlds.worlds import ONE_STEP, World

METADATA = FileMetadata(10, (3, 529), (3, 529), "release-03-00-00", True, {}, "2018-05-17 15:19:22")


@pytest.mark.parametrize(
    ("changes", "level", "simulated"),
    [
        ({}, "raw", None),
        ({"date": "2019-06-30 00:00:00"}, "raw", True),
        ({"low": (12, 1), "high": (12, 1)}, "raw", True),
        ({"low": (1003, 0), "high": (1003, 0)}, "raw", True),
        ({"low": (0, 0), "high": (0, 0)}, "raw", True),
        ({"low": (3, 0), "high": (3, 0)}, "raw", True),
        ({}, "mdst", True),
        ({"mc": False}, "mdst", False),
        ({"mc": False}, "raw", False),
        ({"mc": None}, "mdst", None),
    ],
)
def test_raw_data_that_were_written_before_they_were_declared_real_are_not_simulated(
    changes, level, simulated
):
    assert replace(METADATA, **changes).tell_simulated(level) is simulated


# ── at the import ──


@pytest.fixture
def imported(tmp_path, capsys, shared_data):
    """Imports a real file of 12 simulated events of run 0:1, of which the catalogue has the type."""
    (tmp_path / "productions").mkdir()

    def act(kind, level="mdst"):
        (tmp_path / "runs.csv").write_text(f"experiment,run,type\n0,1,{kind}\n")
        root = ["--root", str(tmp_path)]
        assert run([*root, "runs", "import", str(tmp_path / "runs.csv")]) == Exit.FINE
        capsys.readouterr()
        file = shared_data / "belle2" / "mdst" / "chaintest_1.root"
        code = run([*root, "files", "import", str(file), "--level", level])
        return code, capsys.readouterr().err

    return act


def test_simulated_events_are_told_and_taken(imported):
    code, told = imported("mc")
    assert code == Exit.FINE
    assert "of simulated events, by what they say of themselves (isMC): 1 file" in told
    assert "files: 1 new" in told


def test_simulated_events_of_a_run_that_the_detector_recorded_are_a_finding(imported):
    code, told = imported("physics")
    assert code == Exit.FINDINGS
    assert "it says that its events are simulated, and its run is one of physics data" in told


def test_a_file_that_says_other_than_it_holds_is_refused(imported, monkeypatch):
    find = file_import.find_metadata
    for changes, reason in (
        ({"events": 7}, "its metadata state 7 events, and it holds 12"),
        ({"low": (0, 2), "high": (0, 5)}, "its metadata state 0:2 to 0:5, and its events are of 0:1"),
    ):
        monkeypatch.setattr(
            file_import, "find_metadata", lambda *where, changes=changes: replace(find(*where), **changes)
        )
        code, told = imported("mc")
        assert (code, reason in told, "files: 0 new" in told) == (Exit.FINDINGS, True, True), told


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ("true", Exit.FINDINGS, "it says that its events are simulated, and its run is one of physics data"),
        ('"Yes"', Exit.FINDINGS, "it says that its events are simulated, and its run is one of physics data"),
        ('"no"', Exit.FINE, "files: 1 new"),
        ("null", Exit.FINE, "files: 1 new"),
        ('"perhaps"', Exit.FINDINGS, "simulated"),
    ],
)
def test_a_list_says_what_is_simulated_of_files_that_are_not_opened(tmp_path, capsys, said, code, told):
    (tmp_path / "productions").mkdir()
    (tmp_path / "runs.csv").write_text("experiment,run,type\n12,1,physics\n")
    row = '"path": "/x/a.root", "experiment": 12, "run": 1, "size": 9, "checksum": "adler32:0a1b2c3d"'
    (tmp_path / "list.json").write_text(f'[{{{row}, "events": 5, "storage": "tape", "simulated": {said}}}]')
    root = ["--root", str(tmp_path)]
    assert run([*root, "runs", "import", str(tmp_path / "runs.csv")]) == Exit.FINE
    assert run([*root, "files", "import", str(tmp_path / "list.json"), "--level", "mdst"]) == code
    assert told in capsys.readouterr().err


def test_a_list_that_contradicts_a_file_is_refused(tmp_path, capsys, shared_data):
    (tmp_path / "productions").mkdir()
    file = shared_data / "belle2" / "mdst" / "chaintest_1.root"
    (tmp_path / "list.csv").write_text(f"path,simulated\n{file},no\n")
    assert (
        run(["--root", str(tmp_path), "files", "import", str(tmp_path / "list.csv"), "--level", "mdst"])
        == Exit.FINDINGS
    )
    assert "its events are simulated, and the list that they are real" in capsys.readouterr().err


def test_what_a_file_said_is_kept_where_a_list_names_it_again(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    file = File(3, 9, "mdst", "a.root", "/x/a.root", 1, "adler32:0000000a", 5, "tape", simulated=True)
    with opened(world.state) as engine:
        assert import_files(engine, [file]).counts.new == 1
        assert import_files(engine, [replace(file, simulated=None)]).counts.unchanged == 1


# ── in a plan ──

SKIM_TOO = """\
  skims:
    application: basf2
    template: hlt_skim/3
    input: {level: raw}
    skims: [final_hadron]
limits:"""


def plan(tmp_path, mark):
    """The blocked and the other groups of a campaign of two steps, of which only one declares real data."""
    text = ONE_STEP.replace("raw_to_mdst/1", "raw_to_mdst/5").replace("limits:", SKIM_TOO)
    world = World(tmp_path, campaign=ONE_STEP)
    world.templates = load_templates()
    world.write("productions/campaigns/proc7/campaign.yaml", text)
    world.lock()
    with opened(world.state) as engine, engine.begin() as connection:
        mark(connection)
    return sorted(world.groups())


@pytest.mark.parametrize(
    ("table", "values", "why"),
    [
        (runs, {"type": "mc"}, "it is a run of simulated events, and raw_to_mdst/5 is for real data"),
        (
            files,
            {"simulated": True},
            "raw.1.0.root says that its events are simulated, and raw_to_mdst/5 is for real data",
        ),
    ],
    ids=["run", "files"],
)
def test_what_declares_real_data_is_not_made_of_simulated_events(tmp_path, table, values, why):
    def mark(connection):
        here = (table.c.experiment == 3) & (table.c.run == 1)
        connection.execute(update(table).where(here).values(**values))

    assert plan(tmp_path, mark) == [
        ("blocked", "reco", "3:1", why),
        ("submit", "reco", "3:2", "not produced"),
        ("submit", "skims", "3:1-2", "not produced"),
    ]


@pytest.mark.parametrize("name", load_templates())
def test_a_template_that_declares_real_data_is_known_by_its_text(name):
    """What converts or reconstructs RAW, and what leaves out the branches of simulation, as skims of the registry do here."""
    template = load_templates()[name]
    if template.superseded is None:
        assert template.declares_real is (name.split("/")[0] not in HANDING_ON)


HANDING_ON = ("hlt_skim", "merge")


# ── in a manifest ──


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("types: [physics, beam]", "types: [mc]"),
            "runs of type mc are of simulated events, and raw_to_mdst/5 is for real data",
        ),
        (
            ("{experiment: 4, ranges", "{experiment: 1003, ranges"),
            "experiment 1003 is one of simulated events, and raw_to_mdst/5 is for real data",
        ),
        (("{experiment: 4, ranges", "{experiment: 7, ranges"), None),
    ],
)
def test_a_campaign_that_selects_simulated_events_cannot_declare_them_real(change, says):
    text = campaign(change, ("raw_to_mdst/1", "raw_to_mdst/5"))
    repository, findings = read_repository(tree(campaign=text), load_templates())
    found = [one for one in (*findings, *check_repository(repository)) if one.code == "BP523"]
    assert [one.message.partition(" (see")[0] for one in found] == ([says] if says else [])


# ── in what was made ──


def test_what_was_made_of_simulated_events_says_so(shared_data):
    path = shared_data / "belle2" / "mdst" / "chaintest_1.root"
    release = read_metadata(path, path.name).release
    facts = {"experiment": 0, "run": 1, "application": "basf2", "release": release, "events": 12}

    def judge(**changes):
        flaw = examine(published(path, **{**facts, "level": "mdst", **changes}), Depth.FULL)
        return None if flaw is None else flaw.text.partition(": ")[2]

    assert judge(simulated=True) is None
    assert judge() == "its metadata declare it simulated, and its run is one of real data"
    assert judge(level="raw") is None, "what is made of RAW declares it, and no skim does"


def test_what_was_made_of_simulated_events_and_says_that_it_is_real_is_wrong(shared_data, monkeypatch):
    path = shared_data / "belle2" / "mdst" / "chaintest_1.root"
    said = replace(read_metadata(path, path.name), mc=False)
    monkeypatch.setattr("renderer.event_data.file_metadata.read_metadata", lambda *_: said)
    file = published(path, experiment=0, run=1, application="basf2", level="mdst", simulated=True)
    flaw = examine(file, Depth.FULL)
    assert "its metadata declare it real data, and its run is one of simulated events" in flaw.text


def test_runs_of_simulated_events_are_skimmed_like_others(tmp_path):
    steps = ONE_STEP[: ONE_STEP.index("  reco:")] + SKIM_TOO.replace("limits:", "")
    text = steps + ONE_STEP[ONE_STEP.index("limits:") :]
    world = World(tmp_path, campaign=ONE_STEP)
    with opened(world.state) as engine, engine.begin() as connection:
        connection.execute(update(runs).values(type="mc"))
        connection.execute(update(files).values(simulated=True))
    world.templates = load_templates()
    world.write("productions/campaigns/proc7/campaign.yaml", text.replace('"1-2"', '"1-2", types: [mc]'))
    repository, findings = world.repository(), check_repository(world.repository())
    assert [one for one in findings if one.code == "BP523"] == []
    assert repository.campaigns
    world.lock()
    assert world.reconcile().produced == 2
    assert world.groups() == []
