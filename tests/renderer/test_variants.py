"""Overrides, testing payloads and scans: variants are made and kept apart, and what they are made with is checked."""

from __future__ import annotations

import hashlib
import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from ci.reports.plan import format_markdown, format_plan
from reconciler.execution.launch.preparation import WorkPreparation, list_work
from renderer.steering import load_templates
from schemas.json_schema.validation import load_schema, validate_json
from tests.support.inputs.fingerprints import EVERYTHING, declare, moved
from tests.support.worlds.builders import campaign, check, snapshot, tree
from tests.support.worlds.worlds import CAMPAIGN, ONE_STEP, World

pytestmark = pytest.mark.usefixtures("database")

WHY = "reason: under study, ticket: BIIDP-1120"
RECO = "    outputs: [mdst]\n"
SCAN = (
    f"    scan: {{threshold: {{module: V0Finder, parameter: cut, values: {{low: 0.1, high: 0.3}}, {WHY}}}}}\n"
)
PAYLOAD = "CDCWireHitRequirements"


def scanned(text=SCAN):
    return (RECO, RECO + text)


def test_each_point_of_a_scan_is_made_and_so_is_what_reads_from_it(tmp_path):
    world = World(tmp_path, scanned(), campaign=CAMPAIGN)
    assert world.groups() == [
        ("submit", f"{step}@{point}", "3:1-2", "not produced")
        for step in ("reco", "thin")
        for point in ("low", "high")
    ]
    assert world.reconcile().produced == 8
    assert world.groups() == []
    folders = {name.split("/")[1] for name in world.published()}
    assert folders == {"reco.low", "reco.high", "thin.low", "thin.high"}


def test_another_value_restates_its_variant_alone(tmp_path):
    world = World(tmp_path, scanned(), campaign=CAMPAIGN)
    world.reconcile()
    world.change(("high: 0.3", "high: 0.4"))
    assert {group[1] for group in world.groups()} == {"reco@high", "thin@high"}
    assert {group[0] for group in world.groups()} == {"restate"}


def test_two_scans_are_combined_and_counted_as_units(tmp_path):
    both = SCAN.replace(
        "}}\n", f"}}, mode: {{module: V0Finder, parameter: mode, values: {{a: 1, b: 2}}, {WHY}}}}}\n"
    )
    world = World(tmp_path, scanned(both), ("max_units: 100", "max_units: 16"), campaign=CAMPAIGN)
    assert {group[1] for group in world.groups()} == {
        f"{step}@{one}+{other}"
        for step in ("reco", "thin")
        for one in ("low", "high")
        for other in ("a", "b")
    }
    with pytest.raises(AssertionError, match="2 runs × 8 steps are 16 units, max_units is 15"):
        world.change(("max_units: 16", "max_units: 15"))


def test_a_variant_is_addressed_by_its_name(tmp_path, capsys):
    world = World(tmp_path, scanned(), campaign=ONE_STEP)
    world.templates = load_templates()
    world.write(
        "productions/campaigns/proc7/campaign.yaml",
        ONE_STEP.replace("raw_to_mdst/1", "raw_to_mdst/5").replace(*scanned()),
    )
    world.lock()
    call = ["--root", str(tmp_path)]
    assert run([*call, "explain", "proc7/reco@low/3:1"]) == Exit.FINE
    assert capsys.readouterr().out.startswith("proc7/reco@low/3:1: submit (mdst): not produced")
    assert run([*call, "status", "--json"]) == Exit.FINE
    assert [row["step"] for row in json.loads(capsys.readouterr().out)] == ["reco@low", "reco@high"]


def override(text):
    return "    outputs: [mdst, cdst]\n", f"    outputs: [mdst, cdst]\n    overrides: [{{{text}}}]\n"


def test_an_override_moves_fingerprints_and_the_words_about_it_do_not():
    kind = ("kind: reprocessing", "kind: calibration")
    plain = declare(campaign(kind))
    on = declare(campaign(kind, override(f"module: A, parameter: b, value: true, {WHY}")))
    assert moved(plain, on) == EVERYTHING
    words = "reason: other words, ticket: BIIDP-7"
    assert not moved(on, declare(campaign(kind, override(f"module: A, parameter: b, value: true, {words}"))))
    for other in (
        "A, parameter: b, value: 1",
        "A, parameter: c, value: true",
        "B, parameter: b, value: true",
    ):
        assert moved(on, declare(campaign(kind, override(f"module: {other}, {WHY}")))) == EVERYTHING


@pytest.fixture
def scan(tmp_path):
    """A scan over a payload, with the local databases of its points at the site."""
    world = World(tmp_path, campaign=ONE_STEP)
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}testing_payloads: {tmp_path}/testing\n")
    for name, content in (("adc_0", b"threshold 0"), ("adc_2", b"threshold 2e-7")):
        checksum = hashlib.md5(content).hexdigest()
        text = snapshot(name, f"{PAYLOAD} 1 {checksum} 0,0,-1,-1").replace("PUBLISHED", "LOCAL")
        world.write(f"productions/global-tags/{name}.iov", text)
        folder = tmp_path / "testing" / name
        folder.mkdir(parents=True)
        (folder / f"dbstore_{PAYLOAD}_rev_1.root").write_bytes(content)
    values = "{adc0: adc_0, adc2e-7: adc_2}"
    world.change(scanned(f"    scan: {{adc: {{payload: {PAYLOAD}, values: {values}, {WHY}}}}}\n"))
    return world


def test_testing_payloads_beat_the_tags_and_are_checked_before_a_job_begins(scan, tmp_path):
    repository = scan.repository()
    work = list_work(scan.state_view().views)
    assert len({item.units.fingerprints["mdst"][0] for item in work if item.run & 3 == 1}) == 2
    writer = WorkPreparation(scan.state, repository)
    ((item, _),) = writer.prepare(work[:1], {})
    assert {payload.name for bucket in item.payloads.buckets for payload in bucket.payloads} == {
        PAYLOAD,
        "CDCGeometry",
    }
    (local,) = json.loads(writer.render(item.split()[0])["job.json"])["testing_payloads"]
    assert local["database"] == f"{tmp_path}/testing/adc_0/database.txt"
    (file,) = (tmp_path / "testing/adc_2").iterdir()
    file.write_bytes(b"threshold 3e-7")
    assert {step for step, _, _ in scan.quarantined()} == set()
    assert scan.reconcile().produced == 2
    assert {(step, "not" in reason and "MD5" in reason) for step, _, reason in scan.quarantined()} == {
        ("reco@adc2e-7", True)
    }


def test_other_testing_payloads_make_the_lock_stale_and_restate(scan):
    scan.reconcile()
    text = snapshot("adc_2", f"{PAYLOAD} 1 {'1' * 32} 0,0,-1,-1").replace("PUBLISHED", "LOCAL")
    before = scan.repository().campaigns["proc7"].lock
    scan.write("productions/global-tags/adc_2.iov", text)
    scan.lock()
    after = scan.repository().campaigns["proc7"].lock
    assert [name for name, one in after.testing_payloads if dict(before.testing_payloads)[name] != one] == [
        "adc_2"
    ]
    assert scan.groups() == [("restate", "reco@adc2e-7", "3:1-2", f"payload {PAYLOAD} changed")]


@pytest.mark.parametrize("nasty", ['"; import os', "\\", "é", "#", "\\u2028", "%s"], ids=ascii)
def test_words_and_values_reach_a_job_as_data_and_a_script_never(tmp_path, nasty):
    text = json.dumps(nasty)
    override = (
        f"{{module: A, parameter: b, value: {text}, reason: {json.dumps('why ' + nasty)}, ticket: A-1}}"
    )
    world = World(tmp_path, (RECO, f"{RECO}    overrides: [{override}]\n"), campaign=ONE_STEP)
    writer = WorkPreparation(world.state, world.repository())
    item, _ = next(writer.prepare(list_work(world.state_view().views), {}))
    files = writer.render(item.split()[0])
    (stated,) = json.loads(files["job.json"])["overrides"]
    assert (stated["value"], stated["reason"]) == (nasty, f"why {nasty}")
    assert files["job.json"].isascii()
    assert files["steering.py"] == b"mode = 'all'\n"


def scan_of(name, points, length):
    values = ", ".join(f"{'p' * (length - 4)}{number:04}: {number}" for number in range(points))
    return f"{name}: {{module: V0Finder, parameter: {name}, values: {{{values}}}, {WHY}}}"


def find(text):
    files = tree(campaign=campaign(("kind: reprocessing", "kind: calibration"), scan_reco(text)))
    return [(finding.code, finding.message[:60]) for finding in check(files)]


def scan_reco(text):
    return "    outputs: [mdst, cdst]\n", f"    outputs: [mdst, cdst]\n    scan: {{{text}}}\n"


def test_variants_beyond_the_cap_are_counted_and_never_made():
    many = ", ".join(scan_of(name, 20, 5) for name in ("a", "b", "c"))
    assert find(many) == [("BP701", "the scans make 8,000 variants of reco; the most are 50")]


def test_scans_behind_scans_count_together_and_are_refused_at_once():
    chain = "".join(
        f"  s{number}:\n    application: basf2\n    template: again/1\n    input: {{step: {source}, level: mdst}}\n"
        f"    outputs: [mdst]\n    scan: {{{scan_of('a', 20, 5)}}}\n"
        for number, source in enumerate(["reco", *(f"s{one}" for one in range(14))])
    )
    text = campaign(("kind: reprocessing", "kind: calibration"), ("  skims:\n", f"{chain}  skims:\n"))
    found = [finding for finding in check(tree(campaign=text)) if finding.code == "BP701"]
    assert len(found) == 14  # the first has twenty, and may
    assert found[0].message.startswith("the scans make 400 variants of s1")


def test_a_variant_whose_name_no_ledger_keeps_is_refused():
    long = ", ".join(scan_of(name, 2, 12) for name in ("a", "b", "c"))
    text = campaign(
        ("kind: reprocessing", "kind: calibration"),
        scan_reco(long),
        ("  reco:", "  reconstruction_of_phas:"),
        ("step: reco", "step: reconstruction_of_phas"),
    )
    assert [finding.code for finding in check(tree(campaign=text))] == []
    behind = f"    input: {{step: reconstruction_of_phas, level: mdst}}\n    outputs: [mdst]\n    scan: {{{scan_of('d', 2, 12)}}}\n"
    text = text.replace(
        "  skims:\n",
        f"  reading_from_what_it_was:\n    application: basf2\n    template: again/1\n{behind}  skims:\n",
    )
    (finding,) = (one for one in check(tree(campaign=text)) if one.code == "BP303")
    assert "bytes; at most 64 are kept" in finding.message


def test_a_plan_tells_each_deviation_once_with_its_steps_and_why(tmp_path):
    one = "module: A, parameter: b, value: true, reason: 'on | <trial>', ticket: BII-1"
    scan = "    scan: {depth: {module: C, parameter: d, values: {d1: 1, d2: 2}, reason: under study, ticket: BII-2}}\n"
    world = World(tmp_path, (RECO, f"{RECO}    overrides: [{{{one}}}]\n{scan}"), campaign=ONE_STEP)
    plan = world.state_view().plan
    assert [told.data() for told in plan.campaigns[0].deviations] == [
        {"what": "A.b = true", "steps": ["reco"], "reason": "on | <trial>", "ticket": "BII-1"},
        {"what": "scan depth of C.d: d1, d2", "steps": ["reco"], "reason": "under study", "ticket": "BII-2"},
    ]
    assert "  deviates: A.b = true\n      reco\n      BII-1: on | <trial>\n" in format_plan(plan)
    (row,) = [line for line in format_markdown(plan).splitlines() if "A.b" in line]
    assert "<trial>" not in row
    assert "|" not in row
    assert validate_json(world.store(), load_schema("plan")) == ()
    assert world.apply(world.store()).produced == 4
    assert "deviations" not in World(tmp_path / "plain", campaign=ONE_STEP).store()["campaigns"][0]
