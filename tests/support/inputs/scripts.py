"""A campaign that runs a script of the repository, and the script."""

from __future__ import annotations

from tests.support.worlds.worlds import CAMPAIGN

STEPS = """\
steps:
  convert:
    application: script
    script: convert_raw/1
    arguments: [--experiment, "@experiment", --run, "@run", "@inputs", "@output:cdst", "$HOME; true"]
    input: {level: raw}
    outputs: [cdst]
    parameters: {threshold: 3}
"""
CONVERT = (
    CAMPAIGN[: CAMPAIGN.index("release:")]
    + CAMPAIGN[CAMPAIGN.index("site:") : CAMPAIGN.index("steps:")]
    + STEPS
    + CAMPAIGN[CAMPAIGN.index("limits:") :]
)
SCRIPT = """\
#!/bin/sh
printf '%s\\n' "$@" > "{root}/called-$4"
cp "{root}/events/3.root" "$6"
"""
