"""Fingerprints: known answers, and what moves them."""

from __future__ import annotations

import hashlib

import pytest

from renderer.applications.uproot import VERSION
from renderer.identity.fingerprint import Fingerprints, digest_files, fingerprint, write_recipes
from renderer.identity.units import declare_units
from renderer.steering import digest_steering, load_templates
from schemas.files.canonical import canonical_json, digest
from schemas.repository import read_repository
from tests.support.inputs.fingerprints import EVERYTHING, INPUTS, RUNS, SKIMS, moved
from tests.support.inputs.sources import make_sources
from tests.support.worlds import builders
from tests.support.worlds.builders import campaign, snapshot, swap, tree


def declare(inputs=INPUTS, **changes):
    """(step, output) → fingerprints of the two runs, of the valid campaign with some files changed."""
    repository, findings = read_repository(tree(**changes), load_templates())
    assert not findings
    units = declare_units(repository.campaigns["proc7"].campaign, repository, RUNS, make_sources(inputs))
    return {
        (item.step.name, output): list(column)
        for item in units
        for output, column in item.fingerprints.items()
    }


def test_known_answers():
    """These are part of fp/1: if one moves, every campaign on earth would be produced again."""
    recipe = digest(
        {"application": VERSION, "output": {"cut": "x > 1", "level": "skim", "skim": "s"}, "split": "run"}
    )
    assert recipe == "113c15f8a3bdc7d44636229ecf1383592183f5c9ecf69ccd615948fd8960b597"
    assert (
        digest_files([("b.root", 2, "adler32:02"), ("a.root", 1, "adler32:01")])
        == "f0244bf148aee2a991ae55cd069b4fc58645f2e8f1c496de09819260be70668e"
    )
    assert (
        fingerprint("r" * 64, "files", "f" * 64).hex()
        == "3f7b26c2299d80e9b73be46e1ef38cae6c98960ed451baf99f03bd77a2c8abf3"
    )
    assert (
        fingerprint("r" * 64, "unit", "f" * 64, "c" * 64).hex()
        == "23bc15247f26fbe185e36cfb5f7db52aa4c9a955d206c32ad98bffc8926e5df8"
    )
    assert (
        declare()["reco", "mdst"][0].hex()
        == "4d15b358d0ce0b9cc86812728b4c88c29137b12f6573f85ad8dd9f95ec0873a9"
    )


@pytest.mark.parametrize("conditions", [None, "c" * 64])
def test_a_fingerprint_is_the_digest_of_canonical_json(conditions):
    content = {"fp": 1, "input": {"files": "f" * 64}, "recipe": "r" * 64}
    if conditions:
        content["conditions"] = conditions
    assert (
        fingerprint("r" * 64, "files", "f" * 64, conditions)
        == hashlib.sha256(canonical_json(content)).digest()
    )


def test_columns_and_single_values_agree():
    column = Fingerprints("r" * 64, "unit", ["a" * 64, "b" * 64], ["c" * 64, "d" * 64])
    assert list(column) == [
        fingerprint("r" * 64, "unit", a * 64, c * 64) for a, c in (("a", "c"), ("b", "d"))
    ]


@pytest.mark.parametrize(
    "change",
    [
        ("title: Phase 2 reprocessing", "title: Another title"),
        ("ticket: BIIDP-1000", "ticket: BIIDP-2000"),
        ("contact: production-manager@example.org", "contact: shifter@example.org"),
        ("max_units: 4000", "max_units: 5000"),
        ("kind: reprocessing", "kind: calibration"),
        ("title: Phase 2 reprocessing", "title: Phase 2 reprocessing\ndescription: More words"),
        ("components: [CDC, ECL], prune_tracks: false", "prune_tracks: false, components: [CDC, ECL]"),
        (
            "    parameters: {components: [CDC, ECL], prune_tracks: false}\n",
            "    parameters: {components: [CDC, ECL], prune_tracks: false, trigger_mode: all}\n",
        ),
        ("limits:", "state: held\nlimits:"),
        ("    outputs: [mdst, cdst]\n", "    outputs: [mdst, cdst]\n    split: file\n"),
    ],
    ids=lambda change: change[1][:40],
)
def test_what_merely_describes_moves_nothing(change):
    assert declare(campaign=campaign(change)) == declare()


def test_site_and_queue_and_layout_move_nothing():
    changed = {
        "site": builders.SITE + "queue: l\nslots: 2\n",
        "layouts": swap(builders.LAYOUTS, ("{campaign}/{step}", "x/{campaign}/{step}")),
    }
    assert declare(**changed) == declare()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("release: release-03-00-00", "release: release-04-00-00"), EVERYTHING),
        (("prune_tracks: false", "prune_tracks: true"), EVERYTHING),
        (("components: [CDC, ECL]", "components: [CDC]"), EVERYTHING),
        (("parameters: {tree: events}", "parameters: {tree: other}"), SKIMS),
        (("    outputs: [mdst, cdst]\n", "    outputs: [mdst, cdst]\n    split: run\n"), EVERYTHING),
    ],
    ids=["release", "parameter", "list parameter", "uproot parameter", "split"],
)
def test_what_determines_data_moves_it_downstream_too(change, expected):
    assert moved(declare(), declare(campaign=campaign(change))) == expected


def test_a_cut_moves_its_skim_alone():
    menu = swap(builders.SKIMS, ("nTracksLE >= 3", "nTracksLE >= 4"))
    assert moved(declare(), declare(skims=menu)) == {
        ("skims", "hlt_hadron", 529),
        ("skims", "hlt_hadron", 530),
    }


def test_blanks_in_a_cut_move_nothing():
    assert declare(skims=swap(builders.SKIMS, ("nTracksLE >= 3", "nTracksLE  >=3"))) == declare()


def test_an_input_file_moves_its_run_alone():
    inputs = {"raw": {**INPUTS["raw"], RUNS[1]: "c" * 64}}
    assert moved(declare(), declare(inputs)) == {item for item in EVERYTHING if item[2] == 530}


def test_a_payload_moves_the_runs_that_it_holds_for():
    lines = ("CDCGeometry 1 0123456789abcdef0123456789abcdef 0,0,-1,-1", f"CDC_T0s 2 {'2' * 32} 3,530,-1,-1")
    changed = declare(snapshot=snapshot("data_reprocessing_proc7", *lines))
    assert moved(declare(), changed) == {item for item in EVERYTHING if item[2] == 530}


def test_a_payloads_revision_moves_nothing_while_its_content_is_the_same():
    lines = ("CDCGeometry 2 0123456789abcdef0123456789abcdef 0,0,-1,-1",)
    assert declare(snapshot=snapshot("data_reprocessing_proc7", *lines)) == declare()


def test_another_tag_with_the_same_payloads_moves_nothing():
    other = {
        "campaign": campaign(("name: data_reprocessing_proc7", "name: data_reprocessing_proc8")),
        "productions/global-tags/data_reprocessing_proc8.iov": snapshot("data_reprocessing_proc8"),
    }
    assert declare(**other) == declare()


def test_the_order_and_place_of_files_do_not_count():
    assert digest_files([("a", 1, "x:0"), ("b", 2, "x:1")]) == digest_files(
        [("b", 2, "x:1"), ("a", 1, "x:0")]
    )


@pytest.mark.parametrize(
    "other", [("b", 1, "x:0"), ("a", 2, "x:0"), ("a", 1, "x:1")], ids=["name", "size", "checksum"]
)
def test_name_size_and_checksum_of_a_file_count(other):
    assert digest_files([("a", 1, "x:0")]) != digest_files([other])


def test_comments_in_a_steering_script_do_not_count():
    assert digest_steering("x = 1  # why\n\n\ny = 'a'\n") == digest_steering('x = 1\ny = "a"')
    assert digest_steering("x = 1") != digest_steering("x = 2")
    assert digest_steering("x = 1") != digest_steering("x = 1.0")


def test_recipes_of_different_skims_differ_though_their_cuts_are_equal():
    menu = swap(builders.SKIMS, ('"[Bhabha2Trk == 1]"', '"[[nTracksLE >= 3] and [Bhabha2Trk == 0]]"'))
    repository, _ = read_repository(tree(skims=menu), load_templates())
    declared = repository.campaigns["proc7"].campaign
    first, second = write_recipes(declared, declared.steps[1], repository)
    assert first.digest != second.digest
