"""Production requests of the grid: stable groups, names by content, and what is not known said openly."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from ci.cli import run
from ci.exits import Exit
from reconciler.database import SourceUnavailable, opened, reading
from reconciler.observation import measure_cpu
from reconciler.tables import attempts
from renderer.requests import group_runs, render_requests, write_request
from renderer.steering import read_templates
from renderer.units import declare_units
from schemas.repository import read_repository
from schemas.runs import run_key
from tests.builders import CAMPAIGN, snapshot, tree
from tests.worlds import ONE_STEP, World

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
NASTY = 'Said "x\\ny", é; rm -rf /'

keys = st.builds(run_key, st.integers(3, 4), st.integers(0, 500))


@given(st.sets(keys, min_size=1), st.sets(keys), st.integers(1, 200))
def test_a_new_run_moves_no_old_one_into_another_group(runs, more, width):
    before, after = group_runs(sorted(runs), width), group_runs(sorted(runs | more), width)
    assert [run for group in after for run in group] == sorted(runs | more)
    together = [{run for run in group if run in runs} for group in after]
    assert [group for group in together if group] == [set(group) for group in before]
    assert all(len(group) <= width for group in after)


def declare(runs, title="Skims"):
    text = CAMPAIGN[: CAMPAIGN.index("steps:")] + STEPS
    text = text.replace("types: [physics, beam]", "types: [physics, beam], energies: [4S]")
    text = text.replace("Phase 2 reprocessing", title).replace("site: local", "site: grid")
    text = text.replace('ranges: "1-20"}', 'ranges: "1-20", energies: [4S]}')
    tag = snapshot().replace("# state", "# id: 598\n# state")
    files = tree(campaign=text, snapshot=tag, **{"productions/sites/grid.yaml": SITE})
    repository, findings = read_repository(files, read_templates())
    assert not findings, findings
    campaign = repository.campaigns["proc7"].campaign
    (units,) = declare_units(campaign, repository, runs, {"mdst": {run: f"{run:064x}" for run in runs}})
    folders = {run: [f"/belle/Data/proc7/r{run & 0xFFFF:05d}/mdst"] for run in runs}
    return render_requests(campaign, units, repository, folders, 1.25)


RUNS = [run_key(3, number) for number in (529, 530, 601)]


def test_a_request_is_as_it_was_reviewed():
    first, second = declare(RUNS)
    assert (first.runs, second.runs) == (tuple(RUNS[:2]), (RUNS[2],))
    assert json.loads(write_request(first)) == {
        "BeamEnergy": "4S",
        "Campaign": "proc7",
        "DBGlobalTag": "DB00000598",
        "DataDescription": [{"DataLevel": "mdst", "GeneralSkimName": "final_hadron"}],
        "DataStructureByRun": "True",
        "Description": "Skims",
        "ExpectedEventSize": 1.25,
        "FabricationType": "DataSkim",
        "InputData": ["/belle/Data/proc7/r00529/mdst", "/belle/Data/proc7/r00530/mdst"],
        "LPNPrefix": "/belle/Data",
        "Priority": 8,
        "ProductionGroup": "skim",
        "ProductionName": first.name,
        "Release": "release-03-00-00",
        "SteeringFile": f"{first.name}.py",
        "SteeringFilePrefix": "proc7/skims",
        "TargetFileSize": 1024,
        "Unsubmittable": ["the CPU time of an event is not known: run some of it at another site"],
        "VolumeDependentMerge": "False",
    }


def test_names_are_of_the_content_and_of_the_grids_grammar():
    names = [request.name for request in declare(RUNS)]
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,32}", name) for name in names)
    assert names == [request.name for request in declare(RUNS, title="Another title")]
    more = [request.name for request in declare([*RUNS, run_key(3, 602)])]
    assert more[0] == names[0]
    assert more[1] != names[1]


def test_a_title_is_only_a_title():
    (request, _) = declare(RUNS, title=f"'{NASTY}'")
    written = write_request(request)
    assert written.isascii()
    assert "rm -rf" in json.loads(written)["Description"]
    assert json.loads(written).keys() == json.loads(write_request(declare(RUNS)[0])).keys()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.write("productions/sites/local.yaml", SITE)
    world.templates = read_templates()
    world.lock()
    return world


def test_what_is_not_public_is_marked_and_said(world, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["--root", str(tmp_path), "render", "proc7", "--format", "gb2", "-o", str(out)]) == Exit.FINE
    said = capsys.readouterr().err
    assert "1 request cannot be submitted: what the grid expects for anything but skims is not public" in said
    (file,) = (out / "proc7/reco").glob("*.json")
    assert json.loads(file.read_text())["FabricationType"] == "unknown"
    assert file.with_suffix(".py").read_text().startswith('"""')


def test_nothing_can_be_submitted_to_the_grid_yet_and_that_is_said(world):
    with pytest.raises(SourceUnavailable, match="nothing can be submitted to local yet: its engine is gb2"):
        world.reconcile()
    assert world.attempts() == {}


def test_the_cpu_time_of_an_event_comes_from_what_was_made(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP, files=(2, 1))
    (view,) = world.picture().views
    recipes = [recipe.digest for recipe in view.units[0].recipes]
    with reading(world.state) as connection:
        assert measure_cpu(connection, recipes) is None
    world.reconcile()
    with opened(world.state) as engine, engine.begin() as connection:
        found = list(connection.scalars(select(attempts.c.cpu_seconds)))
        assert len(found) == 3
        assert all(seconds > 0 for seconds in found), "the fake is a process"
        assert measure_cpu(connection, recipes) == pytest.approx(sum(found) / 3), "it reads one event a file"
        assert measure_cpu(connection, ["0" * 64]) is None
        first = select(attempts.c.id).limit(1).scalar_subquery()
        connection.execute(update(attempts).where(attempts.c.id == first).values(cpu_seconds=None))
        assert measure_cpu(connection, recipes) is not None, "the other unit's is known"
