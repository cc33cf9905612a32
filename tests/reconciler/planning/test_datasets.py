"""Campaigns that read datasets: each reads exactly the one that it names, and follows it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from reconciler.ledger.store.database import opened, reading
from reconciler.model.run import File
from reconciler.planning.resolution import resolve
from reconciler.planning.views import read_state_view
from reconciler.run_catalogue.file_register import import_files
from schemas.files.tree import read_tree
from schemas.repository import read_repository
from schemas.rules.datasets import check_circles_of_campaigns, check_datasets
from tests.support.worlds.chains import THIN, add_campaign
from tests.support.worlds.worlds import ONE_STEP, World


def adopt(world, dataset, run, content, level="mdst"):
    """Registers a file of a run for a dataset; its name is the same in every dataset."""
    name = f"mdst.{run}.root"
    world.write(f"elsewhere/{dataset}/{name}", content)
    path = world.root / "elsewhere" / dataset / name
    checksum = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    file = File(3, run, level, name, str(path), path.stat().st_size, checksum, dataset=dataset)
    with opened(world.state) as engine:
        return import_files(engine, [file]).decision


def fingerprints(world, campaign, step="thin", output="udst"):
    (view,) = [one for one in world.state_view(campaign).views if one.campaign.name == campaign]
    (units,) = [one for one in view.units if one.step.name == step]
    return dict(zip(units.runs, units.fingerprints[output], strict=True))


@pytest.fixture
def two(tmp_path):
    """proc7 makes mdst, and skims reads them."""
    world = World(tmp_path, campaign=ONE_STEP)
    add_campaign(world, "skims")
    return world


def test_two_campaigns_of_one_step_give_the_fingerprints_of_one_campaign_of_two(tmp_path, two):
    one = World(tmp_path / "one")
    assert fingerprints(two, "skims") == fingerprints(one, "proc7") != {}


def test_a_dataset_is_made_and_read_in_one_turn_and_then_nothing_is_left(two):
    outcome = two.reconcile()
    assert (outcome.produced, outcome.failed) == (4, [])
    assert two.summary() == {"done": 4}
    assert [row[:2] for row in two.produced()] == [("proc7", "reco")] * 2 + [("skims", "thin")] * 2


def test_alone_a_campaign_waits_for_the_one_that_it_reads(two):
    assert two.groups("skims") == [("waiting", "thin", "3:1-2", "waits for proc7/reco")]
    assert two.reconcile("skims").produced == 0
    assert two.reconcile("proc7").produced == 2
    assert two.groups("skims") == [("submit", "thin", "3:1-2", "not produced")]


def test_a_restated_run_is_followed_inside_max_restate(two):
    two.reconcile()
    two.register(1, "raw.late.root")
    assert two.groups() == [
        ("restate", "reco", "3:1", "input files changed"),
        ("restate", "thin", "3:1", "input restated"),
    ]
    two.change(("max_restate: 10", "max_restate: 0"), campaign="skims")
    assert [one[:3] for one in two.groups()] == [("restate", "reco", "3:1"), ("blocked", "thin", "3:1")]
    two.change(("max_restate: 0", "max_restate: 10"), campaign="skims")
    assert two.reconcile().produced == 2
    assert two.summary() == {"done": 4}


def test_what_a_limit_holds_back_is_waited_for_in_the_other_campaign(two):
    two.reconcile()
    two.change(("max_restate: 10", "max_restate: 0"))
    two.register(1, "raw.late.root")
    assert [one[:2] for one in two.groups()] == [("blocked", "reco"), ("waiting", "thin")]
    assert two.reconcile().produced == 0


def test_of_a_campaign_that_ended_what_was_produced_is_read(two):
    two.reconcile("proc7")
    two.change(("kind: calibration", "kind: calibration\nstate: stopped"))
    two.register_runs([3])
    two.register(3, "raw.3.root")
    two.change(('ranges: "1-2"', 'ranges: "1-3"'), campaign="skims")
    assert two.groups("skims") == [
        ("submit", "thin", "3:1-2", "not produced"),
        ("waiting", "thin", "3:3", "proc7 ended without it"),
    ]
    assert two.reconcile("skims").produced == 2


def test_runs_that_the_other_campaign_does_not_take_wait_with_the_reason(two):
    two.register_runs([3])
    two.register(3, "raw.3.root")
    two.change(('ranges: "1-2"', 'ranges: "1-3"'), campaign="skims")
    told = {(runs, reason) for action, step, runs, reason in two.groups() if step == "thin"}
    assert told == {("3:1-2", "not produced"), ("3:3", "proc7 does not take this run")}


def test_productions_with_equal_names_and_runs_live_side_by_side(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    for run in (1, 2):
        for dataset in ("prod6/reco/mdst", "prod7/reco/mdst"):
            assert len(adopt(world, dataset, run, f"{dataset} of {run}").new) == 1
    for name in ("prod6", "prod7"):
        add_campaign(world, f"of_{name}", THIN.replace("proc7/reco/mdst", f"{name}/reco/mdst"))
    first, second = (fingerprints(world, f"of_{name}") for name in ("prod6", "prod7"))
    assert first.keys() == second.keys()
    assert not {*first.values()} & {*second.values()}
    assert world.reconcile("of_prod6", "of_prod7").failed == []
    adopt(world, "prod7/reco/mdst", 1, "made again")
    assert world.groups("of_prod6", "of_prod7") == [("restate", "thin", "3:1", "input files changed")]


def test_a_level_of_two_datasets_is_a_finding_that_names_both(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    adopt(world, "prod6/reco/mdst", 1, "of prod6")
    add_campaign(world, "skims", THIN.replace("{dataset: proc7/reco/mdst}", "{level: mdst}"))
    assert {one[3] for one in world.groups("skims")} == {"not produced", "no mdst is registered"}
    adopt(world, "prod7/reco/mdst", 1, "of prod7")
    said = "prod6/reco/mdst and prod7/reco/mdst are datasets of mdst"
    assert [one[0] for one in world.groups("skims")] == ["waiting"]
    assert said in world.groups("skims")[0][3]
    with reading(world.state) as connection:
        repository = world.repository()
        _, findings = resolve(connection, repository, repository.campaigns["skims"])
    assert [(one.code, said in one.message) for one in findings] == [("BP409", True)]
    world.change(("{level: mdst}", "{dataset: prod7/reco/mdst}"), campaign="skims")
    assert [one[0] for one in world.groups("skims")] == ["submit", "waiting"]


def test_a_dataset_that_nobody_has_is_a_finding_that_names_a_near_one(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    adopt(world, "prod6/skims/mdst", 1, "of prod6")
    add_campaign(world, "skims", THIN.replace("proc7/reco/mdst", "prod6/skim/mdst"), lock=False)
    with reading(world.state) as connection:
        repository = world.repository()
        _, findings = resolve(connection, repository, repository.campaigns["skims"])
    assert [(one.code, "prod6/skims/mdst" in one.hint) for one in findings] == [("BP410", True)]


def test_what_an_ended_campaign_has_no_step_for_may_be_adopted_under_its_name(two):
    two.change(("kind: calibration", "kind: calibration\nstate: stopped"))
    two.change(("proc7/reco/mdst", "proc7/old/mdst"), campaign="skims", lock=False)
    with reading(two.state) as connection:
        found = resolve(connection, two.repository(), two.repository().campaigns["skims"])[1]
    assert [one.code for one in found] == ["BP410"]
    assert not [*check_datasets(two.repository())]
    adopt(two, "proc7/old/mdst", 1, "old data")
    two.lock()
    assert two.groups("skims")[0][:3] == ("submit", "thin", "3:1")
    two.change(("state: stopped", "state: held"), lock=False)
    assert [one.code for one in check_datasets(two.repository())] == ["BP508"]


def test_a_file_that_two_datasets_claim_is_refused_with_both_names(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    adopt(world, "prod6/reco/mdst", 1, "of prod6")
    again = adopt(world, "prod7/reco/mdst", 1, "of prod6")
    assert again.new == []
    assert "prod6/reco/mdst/3:1/mdst.1.root" in again.refused[0].reason
    assert again.refused[0].path.endswith("prod7/reco/mdst/mdst.1.root")


def test_a_file_that_a_unit_made_belongs_to_the_dataset_of_the_unit(two):
    two.reconcile("proc7")
    path = next(path for path in two.state.storage("data").rglob("*.root") if "reco" in str(path))
    size, checksum = path.stat().st_size, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    other = File(3, 1, "mdst", path.name, str(path), size, checksum, dataset="prod7/reco/mdst")
    named = replace(
        other, name="x.root", path="/elsewhere/x.root", dataset="proc7/reco/mdst", checksum="sha256:00"
    )
    with opened(two.state) as engine:
        refused = import_files(engine, [other, named]).decision.refused
    assert [one.reason.split(", ")[0] for one in refused] == [
        "it belongs to proc7/reco/mdst",
        "proc7/reco/mdst is made here",
    ]


def test_files_of_nobody_get_a_dataset_and_restate_nothing(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    adopt(world, "unassigned/mdst", 1, "of somebody")
    add_campaign(world, "skims", THIN.replace("{dataset: proc7/reco/mdst}", "{level: mdst}"))
    assert world.reconcile("skims").produced == 1
    (file,) = (world.root / "elsewhere").rglob("*.root")
    content = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assigned = File(
        3, 1, "mdst", file.name, str(file), file.stat().st_size, content, dataset="prod6/reco/mdst"
    )
    with opened(world.state) as engine:
        decision = import_files(engine, [assigned]).decision
    assert [after.dataset for _, after in decision.assigned] == ["prod6/reco/mdst"]
    assert world.summary("skims") == {"done": 1, "waiting": 1}
    world.change(("{level: mdst}", "{dataset: prod6/reco/mdst}"), campaign="skims")
    assert world.summary("skims") == {"done": 1, "waiting": 1}


def test_what_is_at_another_site_is_not_read_before_it_is_here(two):
    site = (two.root / "productions/sites/local.yaml").read_text()
    two.write("productions/sites/far.yaml", site.replace("storage: data", "storage: far"))
    two.change(("site: local", "site: far"), campaign="skims", lock=False)
    two.pin()
    two.lock()
    reason = "proc7/reco/mdst is at local, and not in the storage of far"
    assert [one for one in two.groups() if one[1] == "thin"] == [("blocked", "thin", "3:1-2", reason)]


def test_campaigns_that_read_each_other_are_told_and_stop_nobody_else(two):
    two.write("productions/campaigns/a/campaign.yaml", THIN.replace("proc7/reco/mdst", "b/thin/udst"))
    two.write("productions/campaigns/b/campaign.yaml", THIN.replace("proc7/reco/mdst", "a/thin/udst"))
    tree, _ = read_tree(two.root)
    repository, _ = read_repository(tree, two.templates)
    (finding,) = check_circles_of_campaigns(repository)
    assert (finding.code, "a -> b -> a" in finding.message) == ("BP510", True)
    lock = repository.campaigns["skims"].lock
    locked = {name: replace(repository.campaigns[name], lock=replace(lock, campaign=name)) for name in "ab"}
    repository = replace(repository, campaigns={**repository.campaigns, **locked})
    with reading(two.state) as connection:
        view = read_state_view(connection, repository, ["a", "b", "proc7", "skims"], two.state, spare=True)
    assert [one.campaign.name for one in view.views] == ["proc7", "skims"]
    assert "campaigns read each other in a circle: " in view.absent["a"]


@pytest.mark.parametrize(
    ("read", "code", "says"),
    [
        ("{dataset: skims/thin/udst}", "BP509", "this campaign itself"),
        ("{dataset: proc7/rec/mdst}", "BP508", "no step"),
        ("{dataset: proc7/reco/udst}", "BP509", "does not make"),
        ("{dataset: proc7/reco@x/mdst}", "BP508", "makes no"),
        ("{dataset: proc7/reco}", "BP509", "which of its outputs"),
        ("{dataset: proc7/reco/mdst, level: cdst}", "BP509", "of level mdst"),
        ("{dataset: proc7/reco/mdst, step: reco}", "BP207", "no `step` beside it"),
        ("{dataset: proc7/reco/mdst, skims: [a]}", "BP207", "`skims` names several"),
        ("{dataset: detector/mdst}", "BP301", "detector/mdst"),
    ],
)
def test_a_wrong_dataset_is_told_at_its_place(two, read, code, says):
    two.write("productions/campaigns/skims/campaign.yaml", THIN.replace("{dataset: proc7/reco/mdst}", read))
    tree, _ = read_tree(two.root)
    repository, findings = read_repository(tree, two.templates)
    told = [one for one in (*findings, *check_datasets(repository)) if one.code == code]
    assert any(says in one.message for one in told), told
    assert told[0].place.line == 17
