"""Valid trees and values for tests; each test changes only what it is about."""

from __future__ import annotations

import hashlib

from schemas.findings.finding import Finding
from schemas.manifest.template import (
    DEVIATIONS,
    ComponentRule,
    Era,
    Superseded,
    Template,
    TemplateParameter,
    TemplateSource,
)
from schemas.repository import Repository, read_repository
from schemas.rules import check_repository

CAMPAIGN = """\
schema: campaign/1
title: Phase 2 reprocessing
kind: reprocessing
ticket: BIIDP-1000
contact: production-manager@example.org
runs:
  - {experiment: 3, ranges: "529-613, 620", exclude: "600", types: [physics, beam]}
  - {experiment: 4, ranges: "1-20"}
release: release-03-00-00
global_tags:
  - {name: data_reprocessing_proc7, mode: snapshot}
site: local
layout: plain
steps:
  reco:
    application: basf2
    template: raw_to_mdst/1
    input: {level: raw}
    outputs: [mdst, cdst]
    parameters: {components: [CDC, ECL], prune_tracks: false}
  skims:
    application: uproot
    input: {step: reco, level: mdst}
    skims: [hlt_hadron, hlt_bhabha]
    parameters: {tree: events}
limits: {max_units: 4000, max_restate: 0}
"""
"""productions/campaigns/proc7: a closed reprocessing with a basf2 step and an uproot step that reads from it."""

PROMPT = """\
schema: campaign/1
title: Cosmic runs as they come
kind: prompt
state: held
runs:
  - {experiment: 5, from: 1, types: [cosmic], max_runs: 800, until: "2019-04-30"}
site: local
layout: plain
steps:
  skims:
    application: uproot
    input: {level: cdst}
    skims: [line_hadron]
limits: {max_units: 800}
"""
"""productions/campaigns/GCR5b: an open campaign."""

SITE = """\
schema: site/1
title: This machine
engine: local
storage: data
"""

LAYOUTS = """\
schema: layouts/1
layouts:
  plain:
    title: Plain
    folder: "{campaign}/{step}/{experiment}/{run}/{stream}/{level}/{version}"
"""

RELEASES = """\
schema: releases/1
releases:
  release-03-00-00: {date: "2019-01-05", recommended_tag: data_reprocessing_proc7}
  release-04-00-00: {date: "2019-10-04"}
"""

SKIMS = """\
schema: skims/1
title: A menu
provenance: Made up for tests
holds_for: {runs: [always]}
skims:
  hlt_hadron: {title: Hadrons, cut: "[[nTracksLE >= 3] and [Bhabha2Trk == 0]]"}
  hlt_bhabha: {cut: "[Bhabha2Trk == 1]"}
  line_hadron: {line: software_trigger_cut&skim&accept_hadron, decision: before_prescale}
  final_hadron: {line: software_trigger_cut&skim&accept_hadron}
"""

ROLES = """\
schema: roles/1
version: 1
expires: "2099-12-31"
repository: belle2/productions
environment: test
mode: signatures
administrators: {people: [computing-coordinator@example.org], threshold: 1}
roles:
  proposer: {scope: everything, people: [production-manager@example.org]}
  coordinator: {scope: everything, people: [computing-coordinator@example.org]}
requires:
  default: [proposer, coordinator]
  exemptions:
    - {site: local, engine: local, area: data, nobody: true, reason: processes of this machine}
"""
"""A policy in which nobody must sign for the site `local`."""

SIGNERS = """\
production-manager@example.org namespaces="b2prod-approval" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJVzUPjrHDZS5yycqnE7xw0YIYkVR0sBpl2/93iV0uM
computing-coordinator@example.org namespaces="b2prod-approval" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMPaxBwin8IJtmRso9fM2Y68ZEmrFUf/U4NDhR0lbsmT
"""
"""Public keys whose private halves nobody has."""

ROOT = {"roles.yaml": ROLES, "allowed_signers": SIGNERS, "revoked_keys": "# none\n"}
"""The pinned files besides the sites, by name in `productions`."""

FILES = {
    "campaign": "productions/campaigns/proc7/campaign.yaml",
    "lock": "productions/campaigns/proc7/campaign.lock",
    "prompt": "productions/campaigns/GCR5b/campaign.yaml",
    "site": "productions/sites/local.yaml",
    "layouts": "productions/layouts.yaml",
    "releases": "productions/releases.yaml",
    "skims": "productions/skims/menu.yaml",
    "snapshot": "productions/global-tags/data_reprocessing_proc7.iov",
}
"""Short names of the files of the valid tree, which has no lock."""


def snapshot(name: str = "data_reprocessing_proc7", *lines: str) -> str:
    """A snapshot file of a global tag; by default with one payload for all runs."""
    body = sorted(lines or ("CDCGeometry 1 0123456789abcdef0123456789abcdef 0,0,-1,-1",))
    digest = hashlib.sha256("\n".join(body).encode()).hexdigest()
    header = ("# b2prod snapshot/1", f"# name: {name}", "# state: PUBLISHED", f"# digest: {digest}")
    return "\n".join((*header, *body, ""))


def tree(**changes: str | bytes | None) -> dict[str, bytes]:
    """A valid repository as path → content, with some files changed, added, or removed (None).

    A file is named by a key of `FILES` or by its path: `tree(**{"productions/sites/kekcc.yaml": ...})`.
    """
    valid = {
        "campaign": CAMPAIGN,
        "prompt": PROMPT,
        "site": SITE,
        "layouts": LAYOUTS,
        "releases": RELEASES,
        "skims": SKIMS,
        "snapshot": snapshot(),
    }
    texts = {FILES.get(name, name): text for name, text in (valid | changes).items()}
    return {
        file: text.encode() if isinstance(text, str) else text
        for file, text in texts.items()
        if text is not None
    }


def swap(text: str, *changes: tuple[str, str]) -> str:
    """`text` with each old part, which must occur exactly once, replaced by its new one."""
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def campaign(*changes: tuple[str, str]) -> str:
    """The valid campaign `CAMPAIGN` with some parts replaced."""
    return swap(CAMPAIGN, *changes)


ERA = Era(
    name="A",
    releases=("release-02-", "release-03-"),
    components=("PXD", "SVD", "CDC", "ECL"),
    light=(),
    component_rules=(
        ComponentRule(
            function="add_mdst_output",
            needs=frozenset({"CDC"}),
            why="clusters are matched to tracks that are extrapolated from the CDC",
            source=TemplateSource("reconstruction.py", version="1", line=7),
            when=frozenset({"ECL", "SVD"}),
        ),
        ComponentRule(
            "add_cdst_output",
            frozenset({"PXD"}),
            "of a function that is not called",
            TemplateSource("reconstruction.py"),
        ),
    ),
    evidence=(),
)


def templates() -> dict[str, Template]:
    """Descriptions of two steering templates; their texts are not used."""
    parameters = (
        TemplateParameter("components", (), ("PXD", "SVD", "CDC", "ECL")),
        TemplateParameter("prune_tracks", True),
        TemplateParameter("trigger_mode", "all", ("all", "hlt")),
        TemplateParameter("threshold", 0.5),
        TemplateParameter("depth", 3),
    )
    reco = Template(
        name="raw_to_mdst/1",
        title="RAW to mdst",
        text="add_mdst_output(path)",
        reads=("raw",),
        writes=("mdst", "cdst", "dst"),
        releases=("release-02-", "release-03-"),
        parameters=parameters,
        deviates=frozenset(DEVIATIONS),
        declares_real=True,
        eras=(ERA,),
    )
    former = Template(
        "cosmic_to_mdst/1",
        "Cosmic runs to mdst",
        "",
        ("raw",),
        ("mdst", "cdst"),
        ("release-03-",),
        superseded=Superseded("cosmic_to_mdst/2", "RootInput has no parameter `files`", runs=False),
    )
    lines = Template("hlt_skim/1", "Skims", "", ("mdst",), (), ("release-03-",), skims="line")
    again = Template("mdst_to_udst/1", "mdst to udst", "", ("mdst",), ("udst",), ("release-03-",))
    offline = Template(
        "offline_skim/1", "Skims", "", ("mdst",), ("udst",), ("release-03-",), skims="registry"
    )
    combined = Template(
        "combined_skim/1", "Skims", "", ("mdst",), ("mdst",), ("release-03-",), skims="combined"
    )
    return {one.name: one for one in (reco, again, lines, offline, combined, former)}


def read(files: dict[str, bytes]) -> tuple[Repository, tuple[Finding, ...]]:
    """The repository of a tree, and the findings of readers and schemas."""
    return read_repository(files, templates())


def check(files: dict[str, bytes]) -> tuple[Finding, ...]:
    """All findings on a tree: of readers, schemas and rules."""
    repository, findings = read(files)
    return tuple(sorted({*findings, *check_repository(repository)}))
