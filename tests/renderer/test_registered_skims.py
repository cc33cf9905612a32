"""Skims of basf2's registry: their code determines the data, their level is their template's, and old codes are refused."""

from __future__ import annotations

import copy
import json
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from renderer.identity.fingerprint import write_recipes
from renderer.jobs.job_json import InputFile, StepJobs, divide_input
from renderer.steering import load_templates, render_steering
from schemas.json_schema.validation import load_schema, validate
from schemas.manifest.runs import run_key
from schemas.repository import read_repository
from schemas.rules import check_repository
from schemas.yaml.document import read_yaml
from tests.support.inputs.planted_manifests import dump, payloads, reach
from tests.support.worlds.builders import RELEASES, check, swap, tree

MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  dstar: {registry: {code: "17240100", module: charm, name: DstToD0Pi_D0ToHpJm}}
  leptons: {registry: {code: "18530100", module: lowMulti, name: TwoTrackLeptonsForLuminosity}}
  f_mix: {registry: {code: "70000100", module: flagged, name: f_mix_p1}, combines: [leptons, dstar]}
"""

CAMPAIGN = """\
schema: campaign/1
title: Offline skims
kind: skim
runs:
  - {experiment: 30, ranges: "1-9", types: [physics]}
release: light-2305-korat
global_tags:
  - {name: data_reprocessing_proc7, mode: snapshot}
site: local
layout: plain
steps:
  offline:
    application: basf2
    template: offline_skim/1
    input: {level: mdst}
    skims: [dstar, leptons]
  flagged:
    application: basf2
    template: combined_skim/1
    input: {level: mdst}
    skims: [f_mix]
  again:
    application: basf2
    template: offline_skim/1
    input: {step: offline, skim: dstar}
    skims: [leptons]
limits: {max_units: 100}
"""


def declare(campaign=CAMPAIGN, menu=MENU):
    releases = f'{RELEASES}  light-2305-korat: {{date: "2023-05-31"}}\n'
    files = tree(campaign=campaign, skims=menu, releases=releases, prompt=None)
    repository, findings = read_repository(files, load_templates())
    found = [*findings, *check_repository(repository)]
    assert not found, "\n".join(map(str, found))
    return repository


def read_all_recipes(repository):
    campaign = repository.campaigns["proc7"].campaign
    return {
        (step.name, recipe.output): recipe
        for step in campaign.steps
        for recipe in write_recipes(campaign, step, repository)
    }


def test_levels_are_those_of_the_templates_and_are_read_as_such():
    repository = declare()
    campaign = repository.campaigns["proc7"].campaign
    levels = {
        (step.name, output): step.level_of(output) for step in campaign.steps for output in step.outputs
    }
    assert levels == {
        ("offline", "dstar"): "udst",
        ("offline", "leptons"): "udst",
        ("flagged", "f_mix"): "mdst",
        ("again", "leptons"): "udst",
    }
    assert campaign.step("again").input.level == "udst"


def test_a_code_determines_the_data_of_its_skim_and_of_those_that_combine_it():
    before = read_all_recipes(declare())
    after = read_all_recipes(declare(menu=swap(MENU, ('"17240100"', '"17240101"'))))
    moved = {key for key, recipe in before.items() if recipe.digest != after[key].digest}
    assert moved == {("offline", "dstar"), ("flagged", "f_mix")}
    assert before["flagged", "f_mix"].content["output"] == {
        "level": "mdst",
        "skim": "f_mix",
        "code": "70000100",
        "name": "f_mix_p1",
        "combines": [
            {"code": "17240100", "name": "DstToD0Pi_D0ToHpJm"},
            {"code": "18530100", "name": "TwoTrackLeptonsForLuminosity"},
        ],
    }


@pytest.mark.parametrize(
    "change", [("module: charm", "module: charmed"), ("[leptons, dstar]", "[dstar, leptons]")]
)
def test_where_a_skim_lies_and_the_order_of_members_move_nothing(change):
    before, after = read_all_recipes(declare()), read_all_recipes(declare(menu=swap(MENU, change)))
    assert {key: one.digest for key, one in before.items()} == {key: one.digest for key, one in after.items()}


def test_light_releases_serve_skims_and_no_reconstruction():
    templates = load_templates()
    serving = {name for name, one in templates.items() if one.serves("light-2305-korat")}
    assert serving == {f"{kind}_skim/{version}" for kind in ("offline", "combined") for version in (1, 2, 3)}
    assert templates["offline_skim/1"].serves("release-08-00-00")
    assert not templates["offline_skim/1"].serves("release-05-00-00")


def make_job(repository, name):
    campaign = repository.campaigns["proc7"].campaign
    step = campaign.step(name)
    prints = {recipe.output: bytes(32) for recipe in write_recipes(campaign, step, repository)}
    files = [InputFile("mdst.physics.0030.00005.HLT1.f00000.root", "/data/in.root", 1, "adler32:00")]
    (job,) = divide_input(step, files)
    jobs = StepJobs(campaign, step, repository, repository.sites["local"])
    return json.loads(jobs.write(run_key(30, 5), job, prints))


class Registry:
    """Stands in for that of basf2: what is made with it is kept."""

    made: ClassVar[list] = []
    codes: ClassVar[dict] = {
        "DstToD0Pi_D0ToHpJm": "17240100",
        "TwoTrackLeptonsForLuminosity": "18530100",
        "f_mix_p1": "70000100",
    }

    @classmethod
    def encode_skim_name(cls, name):
        return cls.codes[name]

    @classmethod
    def get_skim_function(cls, name):
        def make(**options):
            cls.made.append(SimpleNamespace(name=name, options=options, mc=True))
            return cls.made[-1]

        return make


class Fatal(Exception):
    pass


@pytest.fixture
def steer(monkeypatch, tmp_path):
    """Runs a template's script on a job, beside doubles of the modules of basf2; returns the combined skims."""

    def run(template, job):
        combined = []

        class CombinedSkim:
            def __init__(self, *skims, **options):
                combined.append((skims, options))

            def __call__(self, path):
                pass

        def fatal(message):
            raise Fatal(message)

        path = SimpleNamespace(add_module=lambda *_, **__: None)
        conditions = SimpleNamespace(override_globaltags=lambda _: None)
        basf2 = ModuleType("basf2")
        basf2.__dict__.update(
            Module=object,
            B2FATAL=fatal,
            conditions=conditions,
            create_path=lambda: path,
            set_random_seed=lambda _: None,
            process=lambda _: None,
            statistics="",
        )
        modules = {"basf2": basf2, "ROOT": ModuleType("ROOT"), "skim": ModuleType("skim")}
        modules["ROOT"].Belle2 = None
        for name, content in (("core", {"CombinedSkim": CombinedSkim}), ("registry", {"Registry": Registry})):
            modules[f"skim.{name}"] = ModuleType(f"skim.{name}")
            modules[f"skim.{name}"].__dict__.update(content)
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        (tmp_path / "job.json").write_text(json.dumps(job))
        monkeypatch.setattr(sys, "argv", ["steering.py", str(tmp_path / "job.json")])
        monkeypatch.setattr(Registry, "made", [])
        text = render_steering(load_templates()[template], {})
        exec(compile(text, template, "exec"), {})
        return combined

    return run


def test_each_skim_is_written_to_its_file_without_content_of_simulations(steer):
    ((skims, options),) = steer("offline_skim/1", make_job(declare(), "offline"))
    assert [skim.name for skim in skims] == ["DstToD0Pi_D0ToHpJm", "TwoTrackLeptonsForLuminosity"]
    assert not any(skim.mc for skim in skims)
    assert skims[0].options == {
        "OutputFileName": "physics.0030.00005.HLT1.dstar.f00000.udst.root",
        "additionalDataDescription": {"dataLevel": "udst"},
    }
    assert options == {}


def test_combined_skims_share_a_file_and_write_none_of_their_own(steer):
    ((skims, options),) = steer("combined_skim/1", make_job(declare(), "flagged"))
    assert {skim.name for skim in skims} == {"DstToD0Pi_D0ToHpJm", "TwoTrackLeptonsForLuminosity"}
    assert not any(skim.mc for skim in skims)
    assert options["udstOutput"] is False
    assert options["mdst_kwargs"] == {"mc": False, "dataDescription": {"dataLevel": "mdst"}}
    assert options["CombinedSkimName"] == "f_mix_p1"
    assert options["OutputFileName"] == "physics.0030.00005.HLT1.f_mix.f00000.mdst.root"


@pytest.mark.parametrize(
    ("template", "step"), [("offline_skim/1", "offline"), ("combined_skim/1", "flagged")]
)
def test_a_release_with_another_code_is_refused(steer, monkeypatch, template, step):
    monkeypatch.setitem(Registry.codes, "DstToD0Pi_D0ToHpJm", "17240101")
    with pytest.raises(Fatal, match="another code than 17240100"):
        steer(template, make_job(declare(), step))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        ("dstar", "registry", "code"),
        ("dstar", "registry", "module"),
        ("dstar", "registry", "name"),
        ("f_mix", "combines", 0),
    ],
)
def test_strings_that_attack_are_refused_or_are_names(shared_data, path):
    base, _ = read_yaml("menu", MENU.encode())
    accepted = []
    for payload in [*payloads(shared_data), "'; import os", "x\ny", "\\", "\u2028", "\0"]:
        data = copy.deepcopy(base.data)
        reach(data, ("skims", *path[:-1]))[path[-1]] = payload
        document, findings = read_yaml("menu", dump(data).text)
        if findings or validate(document, load_schema("skims")):
            continue
        if not check(tree(campaign=None, prompt=None, skims=dump(data).text)):
            accepted.append(payload)
    assert all(re.fullmatch("[A-Za-z0-9_]+", payload) for payload in accepted)
    assert path[-1] in ("module", "name") or not accepted
