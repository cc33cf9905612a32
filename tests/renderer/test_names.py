"""Where outputs go and what their files are called: by the run, its energy, the tag's number, as public paths have it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import opened, reading
from reconciler.model.run import Run
from reconciler.run_catalogue.run_import import import_runs
from renderer.jobs.job_json import InputFile, StepJobs, divide_input, name_file
from schemas.manifest.layout import read_file_name
from schemas.manifest.runs import run_key
from schemas.manifest.step import Step, StepInput
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import ONE_STEP, World

LAYOUT = "schema: layouts/1\nlayouts:\n  plain: {{title: As at KEKCC, folder: {folder}}}\n"
FOLDER = "{release}/{tag_id}/{campaign}/{step}/{experiment}/{energy}/{run}/{stream}/{level}/{version}"
NUMBERED = snapshot("tag_a").replace("# state", "# id: 438\n# state")


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(1, 1, 1))
    world.change(('ranges: "1-2"', 'ranges: "1-3"'), lock=False)
    world.write("productions/layouts.yaml", LAYOUT.format(folder=f'"{FOLDER}"'))
    world.write("productions/global-tags/tag_a.iov", NUMBERED)
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 1, "physics", energy="4S_offres"), Run(3, 2, "cosmic")])
    world.lock()
    return world


def folders(world):
    with reading(world.state) as connection:
        return list(connection.scalars(select(outputs.c.folder).order_by(outputs.c.run)))


def test_a_folder_has_the_energy_of_its_run_and_the_number_of_its_tag(world):
    assert world.groups() == [
        ("submit", "reco", "3:1-2", "not produced"),
        ("blocked", "reco", "3:3", "its beam energy is not known: import it with `b2prod runs import`"),
    ]
    world.reconcile()
    top = "release-03-00-00/DB00000438/proc7/reco/e0003"
    assert folders(world) == [f"{top}/4S_offres/r00001/all/mdst/v1", f"{top}/cosmics/r00002/all/mdst/v1"]
    with opened(world.state) as engine:
        import_runs(engine, [Run(3, 3, "debug", energy="No Beam")])
    assert world.groups() == [("submit", "reco", "3:3", "not produced")]
    world.reconcile()
    assert folders(world)[2] == f"{top}/cosmics/r00003/all/mdst/v1"


def test_nothing_goes_to_a_folder_of_a_number_that_is_not_known(world):
    world.write("productions/global-tags/tag_a.iov", snapshot("tag_a"))
    reason = "the number of tag_a is not known: `b2prod gt pull tag_a` tells it"
    assert world.groups() == [("blocked", "reco", "3:1-3", reason)]


STEPS = {
    "raw": Step("s", "basf2", StepInput("raw"), ("hlt_bhabha",), "file", "hlt_skim/1", skims=True),
    "mdst": Step("s", "basf2", StepInput("mdst"), ("hlt_hadron",), "file", "hlt_skim/1", skims=True),
    "udst": Step("s", "basf2", StepInput("mdst"), ("dstar",), "file", skims=True, skim_level="udst"),
    "reco": Step("s", "basf2", StepInput("raw"), ("mdst",), "file", "raw_to_mdst/1"),
    "lists": Step("s", "uproot", StepInput("mdst"), ("hlt_hadron",), "file", skims=True),
}


@pytest.mark.parametrize(
    ("step", "source", "name"),
    [
        ("reco", "physics.0003.06213.HLT2.f00000.root", "mdst.physics.0003.06213.HLT2.f00000.root"),
        (
            "reco",
            "physics.0003.06213.HLT2.hlt_bhabha.f00000.root",
            "mdst.physics.0003.06213.HLT2.hlt_bhabha.f00000.root",
        ),
        ("raw", "physics.0008.01309.HLT1.f00000.root", "physics.0008.01309.HLT1.hlt_bhabha.f00000.root"),
        (
            "mdst",
            "mdst.physics.0003.05241.HLT0.f00000.root",
            "mdst.physics.0003.05241.HLT0.hlt_hadron.f00000.root",
        ),
        (
            "mdst",
            "cdst.physics.0003.05241.HLT0.f00012.root",
            "mdst.physics.0003.05241.HLT0.hlt_hadron.f00012.root",
        ),
        (
            "udst",
            "mdst.physics.0003.05241.HLT0.f00000.root",
            "physics.0003.05241.HLT0.dstar.f00000.udst.root",
        ),
        (
            "lists",
            "mdst.physics.0003.05241.HLT0.f00000.root",
            "hlt_hadron.physics.0003.05241.HLT0.f00000.root",
        ),
        ("mdst", "beam.0003.02520.root", "mdst.beam.0003.02520.hlt_hadron.root"),
        ("mdst", "strange.root", "mdst.strange.hlt_hadron.root"),
        ("mdst", "f00000.root", "mdst.f00000.hlt_hadron.root"),
    ],
)
def test_files_are_called_as_public_paths_have_them(step, source, name):
    step = STEPS[step]
    assert name_file(step, step.outputs[0], source) == name
    if "HLT" in name and step is not STEPS["udst"] and step is not STEPS["lists"]:
        assert read_file_name(name) is not None


def test_the_file_of_a_whole_run_has_the_type_that_its_inputs_have(world):
    repository = world.repository()
    campaign = repository.campaigns["proc7"].campaign
    step = replace(campaign.steps[0], split="run")

    def name(*sources):
        files = [InputFile(source, f"/raw/{source}", 1, "adler32:00") for source in sources]
        (job,) = divide_input(step, files)
        jobs = StepJobs(campaign, step, repository, repository.sites["local"])
        rendered = jobs.render(run_key(3, 529), job, {"mdst": bytes(32)})
        return rendered["outputs"][0]["file"]

    first, second = "physics.0003.00529.HLT1.f00000.root", "physics.0003.00529.HLT2.f00000.root"
    assert name(first, second) == "mdst.physics.0003.00529.root"
    assert name(first, second.replace("physics", "beam")) == "mdst.0003.00529.root"
    assert name(first, "strange.root") == "mdst.0003.00529.root"
