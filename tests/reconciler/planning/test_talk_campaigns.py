"""The campaigns of the talk: each checks, resolves to the lock that is here, renders as it was reviewed, and plans."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import State, opened
from reconciler.model.run import File
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.file_removal import remove_files
from renderer.identity.units import declare_units
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.manifest.runs import parse_runs
from schemas.repository import read_repository
from tests.support.inputs.sources import make_sources
from tests.support.worlds.builders import swap

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden"

NOON = "2019-02-07T12:00:00+00:00"

ADOPTED = ("hlt_bhabha", "hlt_gamma_gamma", "hlt_mumu_2trk")
"""The RAW skims of prod6 that preproc7 read."""
ARCHIVED = ("prod6", "GCR5a")

UNITS = {
    "prod6": {"reco": 613},
    "preproc7": {f"cdst@{skim}": 613 for skim in ADOPTED},
    "proc7": {"reco": 613},
    "proc7b": {"reco": 613},
    "preproc8": {
        "skims": 613,
        **{
            f"cdst@phase2_{skim}.adc{point}": 613
            for skim in ("bhabha", "gamma_gamma", "hadron", "mumu_2trk")
            for point in ("0", "2e-7", "4e-7", "6e-7", "8e-7")
        },
    },
    "preproc8b": {
        "skims": 613,
        **{f"cdst@phase2_{skim}": 613 for skim in ("bhabha", "gamma_gamma", "hadron", "mumu_2trk")},
    },
    "proc8": {"reco": 613, "skims": 613},
    "GCR5a": {"reco": 200},
    "GCR5b": {"reco": 200},
    "GCR5c": {"reco": 200},
    "exp3_skims": {"mdst": 613, "cdst": 613},
    "exp3_offline_skims": {"skims": 613},
}
"""Every campaign with its steps and their units."""

RENDERS = (
    ("proc7", "reco"),
    ("preproc8", "cdst@phase2_hadron.adc2e-7"),
    ("proc8", "skims"),
    ("GCR5b", "reco"),
)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The productions of this repository, with the stand-in runs and a RAW file of each run of experiment 3 imported."""
    folder = tmp_path_factory.mktemp("talk")
    shutil.copytree(ROOT / "productions", folder / "productions")
    for runs in ("e0003", "e0005"):
        assert (
            run(["--root", str(folder), "runs", "import", str(ROOT / f"productions/runs/{runs}.csv")])
            == Exit.FINE
        )
    register(folder, "physics.0003.{:05}.root", "/raw/{}", "{:08x}")
    return folder


def register(folder, name, path, checksum, dataset=""):
    """Registers a file on tape for each run of experiment 3."""
    listed = (ROOT / "productions/runs/e0003.csv").read_text().splitlines()[3:]
    found = [
        File(
            3,
            number,
            "raw",
            name.format(number),
            path.format(number),
            1,
            f"adler32:{checksum.format(number)}",
            None,
            "tape",
            dataset=dataset,
        )
        for number in (int(line.split(",")[1]) for line in listed)
    ]
    with opened(State(folder / ".b2prod")) as engine:
        assert import_files(engine, found).counts.new == len(found)


@pytest.fixture(scope="module")
def reopened(imported, tmp_path_factory):
    """The archived campaigns alone, as if they were not stopped."""
    folder = tmp_path_factory.mktemp("archived")
    shutil.copytree(imported, folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "productions/campaigns")
    for archived in (folder / "productions/archive").iterdir():
        shutil.move(archived, folder / "productions/campaigns" / archived.name)
        manifest = folder / "productions/campaigns" / archived.name / "campaign.yaml"
        # a reprocessing that is not stopped has a ticket
        held = "state: held\nticket: BIIDP-1"
        manifest.write_text(manifest.read_text().replace("state: stopped", held))
    return folder


@pytest.fixture(scope="module")
def checkout(imported, tmp_path_factory):
    """The live campaigns, with the RAW skims of prod6 adopted."""
    folder = tmp_path_factory.mktemp("live")
    shutil.copytree(imported, folder, dirs_exist_ok=True)
    for place, skim in enumerate(ADOPTED, 1):
        name, path = f"physics.0003.{{:05}}.{skim}.root", f"/old/{skim}/{{}}"
        register(folder, name, path, f"{place}{{:07x}}", f"prod6/skims/{skim}")
    return folder


@pytest.fixture
def declared_in(checkout, reopened):
    """Returns the checkout that a campaign is planned in."""
    return lambda name: reopened if name in ARCHIVED else checkout


def call(checkout, capsys, *words):
    """The exit code and the output of a command."""
    code = run(["--root", str(checkout), *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("name", UNITS)
def test_its_lock_is_current(declared_in, capsys, name):
    assert call(declared_in(name), capsys, "resolve", "--check", name)[0] == Exit.FINE


def test_each_plans_each_of_its_units(declared_in, capsys):
    rows = []
    for names in (ARCHIVED, [name for name in UNITS if name not in ARCHIVED]):
        folder = declared_in(names[0])
        assert call(folder, capsys, "plan", *names)[0] == Exit.FINE
        rows += json.loads(call(folder, capsys, "status", *names, "--json")[1])
    found = [(row["campaign"], row["step"], row["units"]) for row in rows if "step" in row]
    assert sorted(found) == sorted(
        (name, step, count) for name, steps in UNITS.items() for step, count in steps.items()
    )


def test_a_campaign_without_a_lock_stops_no_other(checkout, capsys):
    code = run(["--root", str(checkout), "plan", "--exit-code", "--format", "json"])
    planned, said = capsys.readouterr()
    names = [one["campaign"] for one in json.loads(planned)["campaigns"]]
    assert sorted(names) == sorted(UNITS.keys() - {*ARCHIVED})
    assert names.index("proc7") < names.index("exp3_skims"), "what is read is planned before"
    assert "never locked: demo; `b2prod resolve demo`" in said
    assert code == Exit.FINE  # all of them are held
    assert run(["--root", str(checkout), "reconcile", "--once"]) == Exit.FINE
    assert call(checkout, capsys, "plan", "demo")[0] == Exit.FINDINGS


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step"), RENDERS, ids=lambda value: value.replace("@", "-"))
def test_its_render_is_the_one_that_was_reviewed(checkout, capsys, tmp_path, name, step):
    assert call(checkout, capsys, "render", name, "-o", str(tmp_path))[0] == Exit.FINE
    rendered = (tmp_path / name / step / "steering.py").read_text()
    assert rendered == (GOLDEN / f"{name}-{step.replace('@', '-')}.py").read_text()


@pytest.mark.parametrize("name", sorted(UNITS.keys() - {name for name, _ in RENDERS}))
def test_the_others_render_too(declared_in, capsys, name):
    assert call(declared_in(name), capsys, "render", name)[0] == Exit.FINE


def test_the_requests_of_proc7b_lack_what_is_not_public_and_nothing_else(checkout, capsys, tmp_path):
    """With the RAW files at a place on the grid, which is not public, and with what an event took stated.

    Without that it is what the ledger has of the same recipes, as those of proc7 are (tests/renderer/test_requests.py).
    """
    folder = tmp_path / "checkout"
    shutil.copytree(checkout, folder)
    numbers = [key & 0xFFFFFFFF for key in parse_runs("3:529-613")]
    place = "/belle/Data/Raw/e0003/r{0:05d}/sub00/physics.0003.{0:05d}.root"
    raw = [
        File(3, n, "raw", f"physics.0003.{n:05}.root", place.format(n), 1, f"adler32:{n:08x}", 1000)
        for n in numbers
    ]
    with opened(State(folder / ".b2prod")) as engine:
        remove_files(engine, [f"/raw/{n}" for n in numbers], "they are on the grid", "a test", NOON)
        assert import_files(engine, raw, named={file.path for file in raw}).counts.new == len(raw)

    def render(*changes):
        file = folder / "productions/campaigns/proc7b/campaign.yaml"
        file.write_text(swap(file.read_text(), *changes))
        assert call(folder, capsys, "resolve", "proc7b")[0] == Exit.FINE
        out = tmp_path / f"out-{len(changes)}"
        assert call(folder, capsys, "render", "proc7b", "--format", "gb2", "-o", str(out))[0] == Exit.FINE
        first = min(
            (out / "proc7b/reco").glob("*.json"), key=lambda one: json.loads(one.read_text())["InputData"][0]
        )
        return json.loads(first.read_text())

    as_it_is = render()
    assert as_it_is["Unsubmittable"] == [
        "what the grid expects for anything but skims is not public: FabricationType, ProductionGroup, Priority",
        "the number of the global tag data_reprocessing_proc7 is not known: `b2prod gt pull data_reprocessing_proc7` tells it",
        "the size of an event is not known: write `expected` into the step, or run some of it at another site",
        "the CPU time of an event is not known: write `expected` into the step, or run some of it at another site",
    ]
    tag = folder / "productions/global-tags/data_reprocessing_proc7.iov"
    tag.write_text(swap(tag.read_text(), ("# state", "# id: 479\n# state")))
    stated = "    outputs: [mdst, cdst, dst]\n"
    request = render((stated, f"{stated}    expected: {{cpu_seconds: 2, kilobytes: 120}}\n"))
    assert request.pop("Unsubmittable") == as_it_is["Unsubmittable"][:1]
    name = request.pop("ProductionName")
    assert request == {
        "BeamEnergy": "4S",
        "Campaign": "proc7b",
        "DBGlobalTag": "DB00000479",
        "DataDescription": [{"DataLevel": level} for level in ("mdst", "cdst", "dst")],
        "DataStructureByRun": "False",
        "Description": "proc7b, step reco",
        "ExpectedEventCPUTime": 49.14,
        "ExpectedEventSize": 120,
        "FabricationType": "unknown",
        "InputData": [f"/belle/Data/Raw/e0003/r{number:05d}" for number in numbers],
        "InputSandboxFile": ["steering.py", "job.json"],
        "InputSandboxFilePrefix": f"proc7b/reco/{name}",
        "LPNPrefix": "/belle/Data",
        "Priority": "unknown",
        "ProductionGroup": "unknown",
        "Release": "release-03-00-00",
        "ResourceTag": "EL9",
        "SteeringFile": "grid.py",
        "SteeringFilePrefix": f"proc7b/reco/{name}",
        "TargetFileSize": 1024,
        "VolumeDependentMerge": "True",
    }


def test_the_jobs_of_a_scan_state_what_deviates_and_why(checkout, capsys, tmp_path):
    assert call(checkout, capsys, "render", "preproc8", "-o", str(tmp_path), "--run", "3:529")[0] == Exit.FINE
    (job,) = (tmp_path / "preproc8/skims").rglob("*.json")
    assert (
        json.loads(job.read_text())["skims"]["phase2_hadron"]["line"]
        == "software_trigger_cut&hlt&accept_hadron"
    )


def test_preproc7_reads_the_adopted_skims_of_prod6(checkout, capsys, tmp_path):
    assert call(checkout, capsys, "render", "preproc7", "-o", str(tmp_path), "--run", "3:529")[0] == Exit.FINE
    for skim in ADOPTED:
        (job,) = (tmp_path / f"preproc7/cdst@{skim}").rglob("*.json")
        assert [one["path"] for one in json.loads(job.read_text())["inputs"]] == [f"/old/{skim}/529"]


def test_proc7b_is_proc7_but_for_the_site():
    tree, _ = read_tree(ROOT)
    repository, _ = read_repository(tree, load_templates())
    made = {}
    for name in ("proc7", "proc7b"):
        declared = repository.campaigns[name]
        runs = declared.lock.runs
        sources = make_sources({"raw": dict.fromkeys(runs, "0" * 64)})
        (units,) = declare_units(declared.campaign, repository, runs, sources)
        made[name] = units.fingerprints
    assert made["proc7"] == made["proc7b"]
    here, there = (repository.campaigns[name].campaign for name in ("proc7", "proc7b"))
    assert (there.reuse, there.compare_with, there.site, here.site) == (False, "proc7", "grid", "kekcc")
    locks = [repository.campaigns[name].lock.pinned() for name in ("proc7", "proc7b")]
    assert {key for key in locks[0] if locks[0][key] != locks[1][key]} == {"campaign", "site"}


def test_what_is_a_stand_in_says_so():
    for file in (*(ROOT / "productions/runs").iterdir(), *(ROOT / "productions/global-tags").iterdir()):
        assert "stand-in" in file.read_text()[:400].lower(), file.name


def test_a_unit_of_a_variant_by_skim_and_scan_is_addressed_by_its_name(checkout, capsys):
    unit = "preproc8/cdst@phase2_bhabha.adc2e-7/3:529"
    code, said = call(checkout, capsys, "explain", unit)
    assert (code, said.partition(":")[0]) == (Exit.FINE, "preproc8/cdst@phase2_bhabha.adc2e-7/3")
    assert "blocked (cdst): the campaign is held" in said
