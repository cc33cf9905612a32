"""Production requests for the grid, rendered from a campaign."""

from __future__ import annotations

from pathlib import Path

from renderer.identity.units import declare_units
from renderer.jobs.job_json import InputFile
from renderer.jobs.requests import render_requests
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from schemas.manifest.step import Expectation
from schemas.repository import read_repository
from tests.support.inputs.sources import make_sources
from tests.support.worlds.builders import CAMPAIGN, snapshot, swap, tree

SITE = "schema: site/1\ntitle: The grid\nengine: gb2\nstorage: /belle/Data\nruns_per_request: 100\n"
STEPS = """\
steps:
  skims:
    application: basf2
    template: hlt_skim/1
    input: {level: mdst}
    skims: [final_hadron]
limits: {max_units: 4000, max_restate: 0}
"""
PUBLIC = (Path(__file__).parents[3] / "productions/layouts.yaml").read_text()
"""The layouts of present and historic paths."""
SIZE_ALONE = Expectation(None, 1.25)
LPN = "/belle/Data/release-03-02-02/DB00000654/proc9/prod00008530/e0003/4S/r{run:05d}/mdst"
SKIMMED = "/belle/Data/release-06-01-11/DB00002058/proc13/prod00029781/e0003/4S/r{run:05d}/hadron/mdst"


def declare(
    runs,
    *changes,
    title="Skims",
    expected=SIZE_ALONE,
    steps=STEPS,
    site=SITE,
    place=LPN,
    energies=None,
    number=598,
    more=None,
):
    """The requests of a campaign for runs, each with two files in `place`, which may depend on the run."""
    text = swap(CAMPAIGN[: CAMPAIGN.index("steps:")] + steps, *changes)
    text = text.replace("Phase 2 reprocessing", title).replace("site: local", "site: grid")
    tag = snapshot().replace("# state", f"# id: {number}\n# state" if number else "# state")
    extra = {"productions/sites/grid.yaml": site, "productions/layouts.yaml": PUBLIC, **(more or {})}
    repository, findings = read_repository(tree(campaign=text, snapshot=tag, **extra), load_templates())
    assert not findings, findings
    campaign = repository.campaigns["proc7"].campaign
    (step,) = campaign.steps
    (units,) = declare_units(
        campaign, repository, runs, make_sources({step.input.level: {run: f"{run:064x}" for run in runs}})
    )
    files = {}
    for key in runs:
        folder = (place(key) if callable(place) else place).format(run=key & 0xFFFF)
        files[key] = [
            InputFile(name, f"{folder}/sub00/{name}", 1, "adler32:00", 1000) for name in ("a.root", "b.root")
        ]
    known = dict.fromkeys(runs, "4S") if energies is None else energies
    return render_requests(campaign, units, repository, files, expected, known)


RUNS = [run_key(3, number) for number in (529, 530, 601)]
