"""Every key of a manifest, each with a change of the builders' campaign that affects only this key."""

from __future__ import annotations

from schemas.json_schema.validation import load_schema
from tests.support.worlds.builders import LAYOUTS, SITE, snapshot

NAME, OUTPUTS = "name: data_reprocessing_proc7", "    outputs: [mdst, cdst]\n"
OTHERS = {
    "productions/global-tags/other.iov": snapshot("other"),
    "productions/global-tags/changed.iov": snapshot("changed", f"CDCGeometry 2 {'f' * 32} 0,0,-1,-1"),
    "productions/sites/kekcc.yaml": SITE.replace("data", "elsewhere"),
    "layouts": LAYOUTS
    + '  other: {title: Other, folder: "y/{campaign}/{step}/{experiment}/{run}/{stream}/{level}/{version}"}\n',
}
"""What the changed campaigns refer to, in addition to the builders' repository."""

FLIPS = {
    "title": ("title: Phase 2 reprocessing", "title: Another"),
    "description": ("kind:", "description: Words\nkind:"),
    "kind": ("kind: reprocessing", "kind: calibration"),
    "ticket": ("BIIDP-1000", "BIIDP-2000"),
    "contact": ("production-manager@", "shifter@"),
    "state": ("kind:", "state: held\nkind:"),
    "running_jobs": ("kind:", "running_jobs: cancel\nkind:"),
    "supersedes": ("kind:", "supersedes: [GCR5b]\nkind:"),
    "compare_with": ("kind:", "compare_with: GCR5b\nkind:"),
    "restate": ("kind:", "restate: {reason: Words, limit: 0}\nkind:"),
    "reuse": ("kind:", "reuse: never\nkind:"),
    "release": ("release: release-03-00-00", "release: release-03-00-01"),
    "site": ("site: local", "site: kekcc"),
    "layout": ("layout: plain", "layout: other"),
    "runs/experiment": ("experiment: 4", "experiment: 5"),
    "runs/ranges": ('"529-613, 620"', '"529-613, 621"'),
    "runs/exclude": ('"600"', '"601"'),
    "runs/types": ("[physics, beam]", "[physics]"),
    "runs/energies": ("[physics, beam]", "[physics, beam], energies: [4S]"),
    "runs/quality": ("[physics, beam]", "[physics, beam], quality: [good]"),
    "runs/min_events": ("[physics, beam]", "[physics, beam], min_events: 9"),
    "runs/min_minutes": ("[physics, beam]", "[physics, beam], min_minutes: 9"),
    "runs/from": ('ranges: "1-20"', "from: 1, max_runs: 5"),
    "runs/until": ('ranges: "1-20"', 'from: 1, max_runs: 5, until: "2019-04-30"'),
    "runs/max_runs": ('ranges: "1-20"', "from: 2, max_runs: 6"),
    "global_tags/name": (NAME, "name: other"),
    "global_tags/mode": ("mode: snapshot", "mode: running, on_change: restate"),
    "global_tags/on_change": ("mode: snapshot", "mode: running, on_change: ignore"),
    "global_tags/role": ("mode: snapshot", "mode: snapshot, role: analysis"),
    "steps/title": (OUTPUTS, f"{OUTPUTS}    title: Words\n"),
    "steps/template": ("raw_to_mdst/1", "raw_to_mdst/2"),
    "steps/input/level": ("{step: reco, level: mdst}", "{step: reco, level: cdst}"),
    "steps/input/complete": ("{level: raw}", "{level: raw, complete: registered}"),
    "steps/outputs": (OUTPUTS, "    outputs: [mdst, cdst, dst]\n"),
    "steps/skims": ("[hlt_hadron, hlt_bhabha]", "[hlt_hadron, hlt_bhabha, line_hadron]"),
    "steps/parameters": ("prune_tracks: false", "prune_tracks: true"),
    "steps/keep": (
        "    skims: [hlt_hadron, hlt_bhabha]",
        '    skims: [hlt_hadron, hlt_bhabha]\n    keep: ["n*"]',
    ),
    "steps/split": (OUTPUTS, f"{OUTPUTS}    split: run\n"),
    "steps/bundle": (OUTPUTS, f"{OUTPUTS}    bundle: {{runs: 50}}\n"),
    "steps/expected": (OUTPUTS, f"{OUTPUTS}    expected: {{cpu_seconds: 2.7}}\n"),
    "limits/max_units": ("max_units: 4000", "max_units: 4001"),
    "limits/max_restate": ("max_restate: 0", "max_restate: 1"),
    "limits/max_in_flight": ("max_restate: 0", "max_restate: 0, max_in_flight: 9"),
    "canary": ("kind:", "canary: {runs: 3, then: hold}\nkind:"),
    "limits/max_attempts": ("max_restate: 0", "max_restate: 0, max_attempts: 9"),
}
"""Key → a text of the campaign, and its replacement."""

EXEMPT = {
    "steps/overrides": "in no reprocessing: test_variants",
    "steps/testing_payloads": "as overrides",
    "steps/scan": "as overrides",
    "steps/additional_branches": "as overrides",
    "steps/script": "of no reprocessing: test_scripts",
    "steps/arguments": "as script",
    "steps/validation": "in place of skims: test_histogram_step",
    "steps/produces": "of conversions, and no output has another content by it: test_produced_datasets",
    "schema": "has one value",
    "steps/application": "another application is another step altogether",
    "steps/input/step": "what counts is the upstream fingerprint: test_fingerprint has the cases",
    "steps/input/dataset": "what counts is what is read: test_datasets",
    "steps/input/skim": "as input/step",
    "steps/input/skims": "as several steps with input/skim: test_skim_variants",
}
"""Keys that no single change affects alone, each with the reason."""


def list_keys() -> set[str]:
    """The keys of the schema, as `steps/input/level`."""
    schema = load_schema("campaign")
    parts = schema["$defs"]
    steps, tags, selector = parts["step"], parts["global_tag"], parts["selector"]
    keys = set(schema["properties"]) - {"runs", "global_tags", "steps", "limits"}
    keys |= {f"runs/{key}" for key in selector["properties"]}
    keys |= {f"global_tags/{key}" for key in tags["properties"]}
    keys |= {f"steps/{key}" for key in set(steps["properties"]) - {"input"}}
    keys |= {f"steps/input/{key}" for key in steps["properties"]["input"]["properties"]}
    return keys | {f"limits/{key}" for key in schema["properties"]["limits"]["properties"]}
