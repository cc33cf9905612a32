"""A skim campaign that reads the output of an earlier production of the grid."""

from __future__ import annotations

CAMPAIGN = """\
schema: campaign/1
title: skims
kind: skim
contact: production-manager@example.org
runs:
  - {experiment: 3, ranges: "1-2", energies: [4S]}
release: release-03-00-00
global_tags:
  - {name: tag_a, mode: snapshot}
site: local
layout: plain
steps:
  skims:
    application: basf2
    template: hlt_skim/3
    input: {level: mdst}
    skims: [final_hadron]
    split: run
    expected: {cpu_seconds: 1.0, kilobytes: 10}
limits: {max_units: 100, max_restate: 10}
"""
FOLDER = "/belle/Data/release-03-00-00/DB00000654/prod00000006/e0003/4S"
PAST = """\
  past:
    title: prod6
    historic: true
    folder: "{storage}/{release}/{tag_id}/{production}/{experiment}/{energy}/{run}/all/{level}/{part}"
"""
