"""Every key that a campaign can have is flipped once: what determines data moves fingerprints, nothing else does.

The table is held against the schema, so that a new key must be decided here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from renderer.steering import load_templates
from renderer.units import declare_units
from schemas.repository import read_repository
from schemas.validation import load_schema
from tests.builders import CAMPAIGN, LAYOUTS, SITE, campaign, snapshot, tree
from tests.test_fingerprint import EVERYTHING, INPUTS, RUNS, SKIMS, moved

NOTHING: set[tuple[str, str, int]] = set()

NAME, OUTPUTS = "name: data_reprocessing_proc7", "    outputs: [mdst, cdst]\n"
OTHER_TAG = {
    "productions/global-tags/other.iov": snapshot("other"),
    "productions/global-tags/changed.iov": snapshot("changed", f"CDCGeometry 2 {'f' * 32} 0,0,-1,-1"),
    "productions/sites/kekcc.yaml": SITE.replace("data", "elsewhere"),
    "layouts": LAYOUTS
    + '  other: {title: Other, folder: "y/{campaign}/{step}/{experiment}/{run}/{stream}/{level}/{version}"}\n',
}

FLIPS = {
    "title": (("title: Phase 2 reprocessing", "title: Another"), NOTHING),
    "description": (("kind:", "description: Words\nkind:"), NOTHING),
    "kind": (("kind: reprocessing", "kind: calibration"), NOTHING),
    "ticket": (("BIIDP-1000", "BIIDP-2000"), NOTHING),
    "contact": (("production-manager@", "shifter@"), NOTHING),
    "state": (("kind:", "state: held\nkind:"), NOTHING),
    "supersedes": (("kind:", "supersedes: [GCR5b]\nkind:"), NOTHING),
    "compare_with": (("kind:", "compare_with: GCR5b\nkind:"), NOTHING),
    "restate": (("kind:", "restate: {reason: Words, limit: 0}\nkind:"), NOTHING),
    "reuse": (("kind:", "reuse: never\nkind:"), NOTHING),
    "release": (("release: release-03-00-00", "release: release-03-00-01"), EVERYTHING),
    "site": (("site: local", "site: kekcc"), NOTHING),
    "layout": (("layout: plain", "layout: other"), NOTHING),
    "runs/experiment": (("experiment: 4", "experiment: 5"), NOTHING),
    "runs/ranges": (('"529-613, 620"', '"529-613, 621"'), NOTHING),
    "runs/exclude": (('"600"', '"601"'), NOTHING),
    "runs/types": (("[physics, beam]", "[physics]"), NOTHING),
    "runs/energies": (("[physics, beam]", "[physics, beam], energies: [4S]"), NOTHING),
    "runs/quality": (("[physics, beam]", "[physics, beam], quality: [good]"), NOTHING),
    "runs/min_events": (("[physics, beam]", "[physics, beam], min_events: 9"), NOTHING),
    "runs/min_minutes": (("[physics, beam]", "[physics, beam], min_minutes: 9"), NOTHING),
    "runs/from": (('ranges: "1-20"', "from: 1, max_runs: 5"), NOTHING),
    "runs/until": (('ranges: "1-20"', 'from: 1, max_runs: 5, until: "2019-04-30"'), NOTHING),
    "runs/max_runs": (('ranges: "1-20"', "from: 2, max_runs: 6"), NOTHING),
    "global_tags/name": ((NAME, "name: other"), NOTHING),
    "global_tags/mode": (("mode: snapshot", "mode: running, on_change: restate"), NOTHING),
    "global_tags/on_change": (("mode: snapshot", "mode: running, on_change: ignore"), NOTHING),
    "global_tags/role": (("mode: snapshot", "mode: snapshot, role: analysis"), NOTHING),
    "steps/title": ((OUTPUTS, f"{OUTPUTS}    title: Words\n"), NOTHING),
    "steps/template": (("raw_to_mdst/1", "raw_to_mdst/2"), EVERYTHING),
    "steps/input/level": (("{step: reco, level: mdst}", "{step: reco, level: cdst}"), SKIMS),
    "steps/input/complete": (("{level: raw}", "{level: raw, complete: registered}"), NOTHING),
    "steps/outputs": ((OUTPUTS, "    outputs: [mdst, cdst, dst]\n"), NOTHING),
    "steps/skims": (("[hlt_hadron, hlt_bhabha]", "[hlt_hadron, hlt_bhabha, line_hadron]"), NOTHING),
    "steps/parameters": (("prune_tracks: false", "prune_tracks: true"), EVERYTHING),
    "steps/keep": (
        ("    skims: [hlt_hadron, hlt_bhabha]", '    skims: [hlt_hadron, hlt_bhabha]\n    keep: ["n*"]'),
        SKIMS,
    ),
    "steps/split": ((OUTPUTS, f"{OUTPUTS}    split: run\n"), EVERYTHING),
    "steps/expected": ((OUTPUTS, f"{OUTPUTS}    expected: {{cpu_seconds: 2.7}}\n"), NOTHING),
    "limits/max_units": (("max_units: 4000", "max_units: 4001"), NOTHING),
    "limits/max_restate": (("max_restate: 0", "max_restate: 1"), NOTHING),
    "limits/max_in_flight": (("max_restate: 0", "max_restate: 0, max_in_flight: 9"), NOTHING),
    "canary": (("kind:", "canary: {runs: 3, then: hold}\nkind:"), NOTHING),
    "limits/max_attempts": (("max_restate: 0", "max_restate: 0, max_attempts: 9"), NOTHING),
}

EXEMPT = {
    "steps/overrides": "in no reprocessing: test_variants",
    "steps/testing_payloads": "as overrides",
    "steps/scan": "as overrides",
    "steps/additional_branches": "as overrides",
    "schema": "has one value",
    "steps/application": "another application is another step altogether",
    "steps/input/step": "what counts is the upstream fingerprint: test_fingerprint has the cases",
    "steps/input/skim": "as input/step",
    "steps/input/skims": "as several steps with input/skim: test_skim_variants",
}


def declare(text):
    template = load_templates()["raw_to_mdst/1"]
    other = replace(template, name="raw_to_mdst/2", text=template.text + "\nprint('2')\n")
    templates = {**load_templates(), other.name: other}
    releases = tree()["productions/releases.yaml"].decode()
    extra = {**OTHER_TAG, "releases": f'{releases}  release-03-00-01: {{date: "2019-01-26"}}\n'}
    repository, findings = read_repository(tree(campaign=text, **extra), templates)
    assert not findings, findings
    units = declare_units(repository.campaigns["proc7"].campaign, repository, RUNS, INPUTS)
    return {
        (item.step.name, output): list(column)
        for item in units
        for output, column in item.fingerprints.items()
    }


@pytest.mark.parametrize("key", FLIPS)
def test_a_key_moves_what_it_determines_and_nothing_else(key):
    change, expected = FLIPS[key]
    assert moved(declare(CAMPAIGN), declare(campaign(change))) == expected


def test_another_content_of_the_tag_moves_what_its_name_does_not():
    assert moved(declare(CAMPAIGN), declare(campaign((NAME, "name: changed")))) == EVERYTHING


def test_every_key_of_the_schema_is_in_the_table():
    schema = load_schema("campaign")
    parts = schema["$defs"]
    steps, tags, selector = parts["step"], parts["global_tag"], parts["selector"]
    keys = set(schema["properties"]) - {"runs", "global_tags", "steps", "limits"}
    keys |= {f"runs/{key}" for key in selector["properties"]}
    keys |= {f"global_tags/{key}" for key in tags["properties"]}
    keys |= {f"steps/{key}" for key in set(steps["properties"]) - {"input"}}
    keys |= {f"steps/input/{key}" for key in steps["properties"]["input"]["properties"]}
    keys |= {f"limits/{key}" for key in schema["properties"]["limits"]["properties"]}
    assert keys == set(FLIPS) | set(EXEMPT)
