"""Where every value of a campaign comes from."""

from __future__ import annotations

import io
import json
from collections import Counter

import pytest
from rich.console import Console

from ci.cli.exits import Exit
from ci.command_line import run
from ci.reports.templates_checked import FILE, write_evidence
from ci.reports.value_origins import tabulate_values
from reconciler.planning.value_origins import trace_values
from renderer.steering import load_eras, load_templates
from schemas.files.tree import read_tree
from schemas.repository import LAYOUTS, RELEASES, read_repository
from schemas.yaml.document import read_yaml
from tests.support.worlds.builders import SITE
from tests.support.worlds.worlds import ONE_STEP, World

TOLD = """\
productions/campaigns/proc7/campaign.yaml
name                                value                 from              where
name                                proc7                 derived           the folder
                                                                            productions/campaigns/pr
                                                                            oc7
schema                              campaign/1            manifest          campaign.yaml:1:9
title                               A campaign of a test  manifest          campaign.yaml:2:8
kind                                calibration           manifest          campaign.yaml:3:7
ticket                              BIIDP-1000            manifest          campaign.yaml:4:9
contact                             production-manager@e  manifest          campaign.yaml:5:10
                                    xample.org
runs[0].experiment                  3                     manifest          campaign.yaml:7:18
runs[0].ranges                      1-2                   manifest          campaign.yaml:7:29
release                             release-03-00-00      manifest          campaign.yaml:8:10
global_tags[0].name                 tag_a                 manifest          campaign.yaml:10:12
global_tags[0].mode                 snapshot              manifest          campaign.yaml:10:25
site                                local                 manifest          campaign.yaml:11:7
layout                              plain                 manifest          campaign.yaml:12:9
steps.reco.application              basf2                 manifest          campaign.yaml:15:18
steps.reco.template                 raw_to_mdst/1         manifest          campaign.yaml:16:15
steps.reco.input.level              raw                   manifest          campaign.yaml:17:20
steps.reco.input.complete           declared              schema default    campaign/1
steps.reco.outputs                  [mdst]                manifest          campaign.yaml:18:14
steps.reco.parameters.trigger_mode  all                   manifest          campaign.yaml:19:32
limits.max_units                    100                   manifest          campaign.yaml:20:21
limits.max_restate                  10                    manifest          campaign.yaml:20:39
limits.max_attempts                 3                     schema default    campaign/1
state                               active                schema default    campaign/1
running_jobs                        finish                schema default    campaign/1
reuse                               whenever equal        schema default    campaign/1
steps.reco.era                      A                     template default  raw_to_mdst/1
steps.reco.parameters.components    []                    template default  raw_to_mdst/1
steps.reco.parameters.prune_tracks  true                  template default  raw_to_mdst/1
release.date                        2019-01-05            release table     releases.yaml:3:28
release.recommended_tag             data_reprocessing_pr  release table     releases.yaml:3:59
                                    oc7
"""


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, campaign=ONE_STEP)
    made.templates = load_templates()
    made.write("productions/sites/local.yaml", SITE)
    made.lock()
    return made


@pytest.fixture
def call(world, capsys):
    """Calls explain in the world; returns exit code, stdout and stderr."""

    def called(*arguments):
        capsys.readouterr()
        code = run(["--root", str(world.root), "explain", *arguments])
        return code, *capsys.readouterr()

    return called


def tell(call, name="proc7"):
    """Name → value, source and place of everything that explain tells."""
    code, out, _ = call(name, "--json")
    assert code == Exit.FINE
    rows = json.loads(out)
    found = {row["name"]: (row["value"], row["from"], row["where"]) for row in rows}
    assert len(found) == len(rows), "every name stands for one value"
    return found


def test_the_table_names_what_every_value_comes_from(call):
    code, out, err = call("proc7")
    assert (code, err) == (Exit.FINE, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[: len(TOLD.splitlines())] == TOLD.splitlines()
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_loses_nothing_on_a_narrow_terminal(world, call, width):
    tree, _ = read_tree(world.root)
    repository, _ = read_repository(tree, world.templates)
    files = (RELEASES, LAYOUTS, "productions/sites/local.yaml")
    documents = {file: read_yaml(file, tree[file])[0] for file in files}
    values = trace_values(repository, repository.campaigns["proc7"], documents)
    console = Console(width=width, file=io.StringIO())
    console.print(tabulate_values(values, ""))
    shown = Counter("".join(console.file.getvalue().split()))
    every = Counter("".join(f"{one.name}{one.source}" for one in values).replace(" ", ""))
    assert every <= shown
    assert "productions/campaigns/proc7" in "".join(console.file.getvalue().split())


def test_what_is_looked_up_and_derived_has_its_place_or_its_reason(world, call):
    found, repository = tell(call), world.repository()
    assert found["site local.storage"] == ("data", "site", "productions/sites/local.yaml:4:10")
    assert found["layout plain.title"] == ("Plain", "layout", "productions/layouts.yaml:4:12")
    assert found["global tag tag_a"] == (
        repository.snapshots["tag_a"].digest,
        "derived",
        "digest of the IoVs (1) in productions/global-tags/tag_a.iov",
    )
    assert found["steps.reco.split"] == ("file", "derived", "what application basf2 does")
    lock = repository.campaigns["proc7"].lock
    assert found["lock"][0] == lock.digest()
    assert found["lock.runs"] == ("3:1-2", "lock", "productions/campaigns/proc7/campaign.lock")
    assert found["steps.reco.steering"][0] == dict(lock.templates)["raw_to_mdst/1"]
    assert found["steps.reco.mdst.recipe"][1:] == (
        "derived",
        "digest of application, output, release, split, steering",
    )


def test_places_are_those_of_the_file(world, call):
    """Whatever is said to be written somewhere is written there."""
    world.change(
        ("title: A campaign", "# a comment\n\ntitle:   A campaign"), ("{name: tag_a, ", "{ name:   tag_a, ")
    )
    for value, source, where in tell(call).values():
        if source in ("manifest", "site", "layout", "release table"):
            file, line, column = where.rsplit(":", 2)
            text = (world.root / file).read_text().splitlines()[int(line) - 1][int(column) - 1 :]
            assert text.lstrip("[\"'").startswith(str(value[0] if isinstance(value, list) else value))


def test_what_is_written_is_no_default(world, call):
    before = tell(call)
    world.change(
        ("input: {level: raw}", "input: {level: raw, complete: registered}\n    split: run"),
        ("max_restate: 10", "max_restate: 10, max_attempts: 7"),
        ("{trigger_mode: all}", "{trigger_mode: all, prune_tracks: false}"),
        ("site: local", "site: local\nstate: held\nreuse: never"),
    )
    after = tell(call)
    for name, value in (
        ("steps.reco.input.complete", "registered"),
        ("steps.reco.split", "run"),
        ("limits.max_attempts", 7),
        ("steps.reco.parameters.prune_tracks", False),
        ("state", "held"),
        ("reuse", "never"),
    ):
        assert before[name][1] != "manifest"
        assert after[name][:2] == (value, "manifest")


def test_every_value_that_a_campaign_has_is_told(world, call):
    """What the reader makes of a manifest and is not written in it is among the defaults."""
    found = tell(call)
    declared = world.repository().campaigns["proc7"].campaign
    (step,) = declared.steps
    assert found["limits.max_attempts"][0] == declared.limits.max_attempts
    assert found["state"][0] == declared.state
    assert (found["reuse"][0] != "never") == declared.reuse
    assert found["steps.reco.input.complete"][0] == step.input.complete
    assert found["steps.reco.split"][0] == step.split
    template = world.templates["raw_to_mdst/1"]
    for name, value in template.settings(dict(step.parameters)).items():
        told = found[f"steps.reco.parameters.{name}"][0]
        assert told == (list(value) if isinstance(value, tuple) else value)


def test_skims_come_from_the_menu(world, call):
    skims = "  skims:\n    application: uproot\n    input: {step: reco, level: mdst}\n    skims: [hlt_hadron, line_hadron]\nlimits:"
    world.change(("limits:", skims))
    found = tell(call)
    assert found["steps.skims.hlt_hadron.cut"] == (
        "nTracksLE >= 3 and Bhabha2Trk == 0",
        "skim menu",
        "productions/skims/menu.yaml:6:3",
    )
    assert found["steps.skims.line_hadron.decision"][0] == "before_prescale"
    assert found["steps.skims.fingerprint"][2] == "digest of the recipe, the fingerprint of reco"


def test_without_lock_and_snapshot_what_is_known_is_told(world, call):
    (world.root / "productions/campaigns/proc7/campaign.lock").unlink()
    (world.root / "productions/global-tags/tag_a.iov").unlink()
    found = tell(call)
    assert found["lock"] == (None, "lock", "there is none; run `b2prod resolve proc7`")
    assert found["global tag tag_a"][0] is None
    assert "run `b2prod gt pull tag_a`" in found["global tag tag_a"][2]


def test_a_changed_parameter_moves_what_is_derived_from_it(world):
    def trace():
        tree, _ = read_tree(world.root)
        repository, _ = read_repository(tree, world.templates)
        files = (RELEASES, LAYOUTS, "productions/sites/local.yaml")
        documents = {file: read_yaml(file, tree[file])[0] for file in files}
        values = trace_values(repository, repository.campaigns["proc7"], documents)
        return {value.name: value.value for value in values}

    before = trace()
    world.change(("trigger_mode: all", "trigger_mode: hlt"))
    after = trace()
    assert {name for name in before if before[name] != after[name]} == {
        "steps.reco.parameters.trigger_mode",
        "steps.reco.steering",
        "steps.reco.mdst.recipe",
        "manifest",
        "lock",
        "lock.generation",
    }


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        (
            "proc9",
            Exit.USAGE,
            "nor a unit as in proc7/reco/3:529, and there is no campaign proc9 (did you mean proc7?); there are: proc7",
        ),
        ("proc7/3-5", Exit.USAGE, "write it as in 3:529"),
        ("proc7/reco/3:1/mdst", Exit.USAGE, "is not a unit"),
    ],
)
def test_wrong_use(call, what, code, says):
    assert call(what)[0] == code
    assert says in call(what)[2]


def test_findings_are_told_instead_of_values(world, call):
    world.change(("template: raw_to_mdst/1", "template: raw_to_mdst/9"), lock=False)
    code, out, err = call("proc7")
    assert (code, out) == (Exit.FINDINGS, "")
    assert "BP506" in err


def test_a_value_in_brackets_is_text_and_not_markup(world, call):
    world.change(("title: A campaign of a test", 'title: "[bold]A [/] campaign"'))
    assert "[bold]A [/] campaign" in call("proc7")[1]


def test_where_facts_of_basf2_were_inferred_users_are_told(world, call):
    found = tell(call)
    rows = {name: row for name, row in found.items() if name.startswith("era ")}
    (era,) = world.repository().templates["raw_to_mdst/1"].eras
    assert [(value, where) for value, _, where in rows.values()] == [
        (f"inferred from it: {one.inferred}", str(one)) for one in era.evidence
    ]
    assert {source for _, source, _ in rows.values()} == {"sources of basf2"}
    code, out, _ = call("proc7/reco/3:1")
    assert code == Exit.FINE
    assert (
        "the script was compared with 8 sources that are not the release's own: `b2prod explain proc7`" in out
    )


def test_the_page_on_basf2_is_what_the_templates_say():
    assert FILE.read_text() == write_evidence(load_eras().values(), load_templates())
