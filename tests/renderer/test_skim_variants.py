"""A step that reads several skims: a variant for each, in which it makes what a step written out for that skim makes."""

from __future__ import annotations

import pytest

from renderer.identity.units import declare_units
from renderer.steering import load_templates, read_templates
from schemas.repository import read_repository
from schemas.rules import check_repository
from tests.support.inputs.fingerprints import INPUTS, RUNS
from tests.support.inputs.sources import make_sources
from tests.support.worlds.builders import CAMPAIGN, swap, tree
from tests.support.worlds.worlds import ONE_STEP, World

WHY = "reason: under study, ticket: BIIDP-1120"
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
holds_for: {runs: [always]}
skims:
  hlt_a: {line: software_trigger_cut&hlt&accept_a}
  hlt_b: {line: software_trigger_cut&hlt&accept_b}
  hlt_c: {line: software_trigger_cut&hlt&accept_c}
"""
OVERRIDE = f"    overrides: [{{module: V0Finder, parameter: Validation, value: true, {WHY}}}]\n"
SCAN = f"    scan: {{cut: {{module: V0Finder, parameter: mode, values: {{low: 1, high: 2}}, {WHY}}}}}\n"
HEAD = swap(CAMPAIGN[: CAMPAIGN.index("steps:\n")], ("kind: reprocessing", "kind: calibration"))
SKIMS = """\
steps:
  skims:
    application: basf2
    template: hlt_skim/3
    input: {level: raw}
    skims: [hlt_a, hlt_b, hlt_c]
"""
LIMITS = "limits: {max_units: 4000}\n"


def step(name, source, level="cdst", template="raw_to_cdst/3", more=""):
    head = f"  {name}:\n    application: basf2\n    template: {template}\n    input: {{{source}}}\n"
    return f"{head}    outputs: [{level}]\n{more}"


def declare(*steps):
    """Step and output → fingerprints of two runs, and the steps as they are expanded."""
    files = tree(campaign=HEAD + SKIMS + "".join(steps) + LIMITS, prompt=None, skims=MENU)
    repository, findings = read_repository(files, load_templates())
    assert findings == ()
    campaign = repository.campaigns["proc7"].campaign
    units = declare_units(campaign, repository, RUNS, make_sources(INPUTS))
    return {
        (one.step.name, output): [value.hex() for value in column]
        for one in units
        for output, column in one.fingerprints.items()
    }, campaign


def steps_of(*steps):
    made, _ = declare(*steps)
    return [name for name, _ in made if not name.startswith("skims")]


@pytest.mark.parametrize(
    ("more", "points"),
    [("", [""]), (OVERRIDE, [""]), (SCAN, ["low", "high"]), (OVERRIDE + SCAN, ["low", "high"])],
)
def test_a_variant_makes_what_a_step_written_out_for_its_skim_makes(more, points):
    together, _ = declare(step("cdst", "step: skims, skims: [hlt_a, hlt_b, hlt_c]", more=more))
    apart, _ = declare(*(step(f"cdst_{one}", f"step: skims, skim: hlt_{one}", more=more) for one in "abc"))
    for one in "abc":
        for point in points:
            variant = ".".join(word for word in (f"hlt_{one}", point) if word)
            written = f"cdst_{one}@{point}".removesuffix("@")
            assert together[f"cdst@{variant}", "cdst"] == apart[written, "cdst"]
    assert len(together) == len(apart) == 3 + 3 * len(points)
    assert len({value for column in together.values() for value in column}) == 2 * len(together)


def test_what_reads_from_variants_by_skim_has_them_too_and_the_same_data():
    behind = step("mdst", "step: cdst, level: cdst", "mdst", "cdst_to_mdst/1", more=SCAN)
    together, campaign = declare(step("cdst", "step: skims, skims: [hlt_a, hlt_b]", more=SCAN), behind)
    written = step("cdst", "step: skims, skim: hlt_b", more=SCAN)
    apart, _ = declare(written, behind)
    assert together["mdst@hlt_b.low+high", "mdst"] == apart["mdst@low+high", "mdst"]
    names = [one.name for one in campaign.expand() if one.name.startswith("mdst")]
    assert names == [
        f"mdst@hlt_{skim}.{first}+{second}"
        for skim in "ab"
        for first in ("low", "high")
        for second in ("low", "high")
    ]


def test_a_skim_of_variants_is_read_by_variants_of_both():
    source = "step: cdst, level: cdst"
    text = step("cdst", "step: skims, skims: [hlt_a, hlt_b]")
    thin = f"  thin:\n    application: basf2\n    template: hlt_skim/3\n    input: {{{source}}}\n    skims: [hlt_c]\n"
    last = step("mdst", "step: thin, skims: [hlt_c]", "mdst", "cdst_to_mdst/1")
    assert steps_of(text, thin, last) == [
        *("cdst@hlt_a", "cdst@hlt_b", "thin@hlt_a", "thin@hlt_b"),
        *("mdst@hlt_a+hlt_c", "mdst@hlt_b+hlt_c"),
    ]


def test_one_skim_of_a_list_is_a_variant_and_has_the_data_of_that_skim():
    (one,), (other,) = (
        [column for (name, _), column in declare(step("cdst", source))[0].items() if name.startswith("cdst")]
        for source in ("step: skims, skims: [hlt_b]", "step: skims, skim: hlt_b")
    )
    assert one == other


def test_variants_have_paths_of_their_own_that_a_layout_reads_back():
    _, campaign = declare(step("cdst", "step: skims, skims: [hlt_a, hlt_b]", more=SCAN))
    layout = read_repository(tree(), {})[0].layouts["plain"]
    rest = {"experiment": "e0003", "run": "r00529", "version": "v1"}
    folders = {}
    for one in campaign.expand():
        if one.name.startswith("cdst"):
            fields = {**campaign.describe_output(one, "cdst"), **rest}
            folders[one.name] = layout.fill(fields)
            assert layout.read(folders[one.name])["step"] == one.path
    assert folders["cdst@hlt_b.high"] == "proc7/cdst.hlt_b.high/e0003/r00529/all/cdst/v1"
    assert len(set(folders.values())) == len(folders) == 4


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("step: skims, skim: hlt_a, skims: [hlt_b]", "BP207", "reads one `skim`, or by its variants each"),
        ("step: skims, skims: [hlt_a, hlt_d]", "BP509", "skims does not make `hlt_d`"),
        ("level: raw, skims: [hlt_a]", "BP509", "no `step` is named"),
        ("step: other, skims: [hlt_a]", "BP509", "other writes data levels, not skims"),
        ("step: skims", "BP509", "it is not said which skim of skims is read"),
        ("step: skims, skims: []", "BP203", "skims"),
        ("step: skims, skims: [hlt_a, hlt_a]", "BP601", "hlt_a"),
    ],
)
def test_what_is_no_list_of_skims_to_read_is_told(source, code, says):
    other = step("other", "level: raw")
    text = HEAD + SKIMS + other + step("cdst", source) + LIMITS
    found = [
        finding
        for finding in _check(text)
        if finding.place.line > text[: text.index("  cdst:\n")].count("\n")
    ]
    assert [finding.code for finding in found] == [code]
    assert says in found[0].message


def test_a_skim_that_two_steps_read_alike_is_made_twice():
    text = (
        HEAD
        + SKIMS
        + step("cdst", "step: skims, skims: [hlt_a, hlt_b]")
        + step("again", "step: skims, skim: hlt_b")
        + LIMITS
    )
    (finding,) = _check(text)
    assert (finding.code, finding.message.partition(" (see")[0]) == (
        "BP602",
        "`cdst` is made twice of the same input: by cdst and by again",
    )


def test_too_many_skims_and_points_are_counted_together():
    names = [f"hlt_{number}" for number in range(26)]
    menu = MENU + "".join(f"  {name}: {{line: software_trigger_cut&hlt&{name}}}\n" for name in names)
    listed = f"[{', '.join(names)}]"
    text = (
        HEAD
        + SKIMS.replace("[hlt_a, hlt_b, hlt_c]", listed)
        + step("cdst", f"step: skims, skims: {listed}", more=SCAN)
        + LIMITS
    )
    (finding,) = _check(text, menu)
    assert (finding.code, finding.message) == (
        "BP701",
        "the skims and scans make 52 variants of cdst; the most are 50",
    )


def test_one_run_takes_a_unit_for_each_variant():
    text = HEAD + SKIMS + step("cdst", "step: skims, skims: [hlt_a, hlt_b]", more=SCAN)
    (finding,) = _check(f"{text}limits: {{max_units: 4}}\n")
    assert finding.message == "a run has 5 units, one for each step and variant; allowed are 4"


def _check(campaign, menu=MENU):
    repository, findings = read_repository(tree(campaign=campaign, prompt=None, skims=menu), load_templates())
    return sorted({*findings, *check_repository(repository)})


SKIMMING = """\
schema: template/1
title: For tests
reads: raw
writes: []
releases: [release-03-]
skims: true
"""


@pytest.mark.usefixtures("database")
def test_variants_by_skim_are_produced_and_restated_apart(tmp_path):
    world = World(tmp_path, campaign=ONE_STEP)
    world.write("templates/hlt_skim/3.yaml", SKIMMING)
    world.write("templates/hlt_skim/3.py.j2", "skims = 1\n")
    world.templates = read_templates(tmp_path / "templates")
    world.write("productions/skims/menu.yaml", MENU)
    first = SKIMS.replace("steps:\n", "")
    reads = ("input: {level: raw}", "input: {step: skims, skims: [hlt_a, hlt_c]}")
    scanned = ("    outputs: [mdst]\n", f"    outputs: [mdst]\n{SCAN}")
    campaign = swap(ONE_STEP, reads, scanned, ("limits:", f"{first}limits:"))
    world.write("productions/campaigns/proc7/campaign.yaml", campaign)
    world.lock()
    names = [f"reco@hlt_{skim}.{point}" for skim in "ac" for point in ("low", "high")]
    assert {step for _, step, _, _ in world.groups()} == {"skims", *names}
    assert world.reconcile().produced == 2 * 5
    assert world.groups() == []
    folders = {path.split("/")[1] for path in world.published()}
    assert folders == {"skims", *(name.replace("@", ".") for name in names)}
    assert {name for _, name, _, _, _ in world.produced()} == {"skims", *names}
    # another definition of one skim restates what is made of it, and nothing else
    world.write("productions/skims/menu.yaml", MENU.replace("accept_c}", "accept_cc}"))
    world.lock()
    assert {step for _, step, _, _ in world.groups()} == {"skims", *names[2:]}
