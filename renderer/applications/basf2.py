"""The application `basf2`: runs a rendered steering script with the declared release."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import asdict
from typing import Any

from renderer.applications.log_patterns import BASF2, BASF2_WEAK, PYTHON, SYSTEM
from renderer.applications.port import CONDITIONS, JOB, LOCAL_CONDITIONS, STEERING, Application, omit_empty
from renderer.steering import digest_steering, render_steering
from schemas.manifest.campaign import Campaign
from schemas.manifest.release import reads_metadata
from schemas.manifest.step import Step
from schemas.policy.site import Site
from schemas.repository import Repository


class Basf2Application(Application):
    """Processes RAW, mdst and cdst, and makes the skims that basf2 makes."""

    name = "basf2"
    patterns = (*BASF2, *PYTHON, *SYSTEM, *BASF2_WEAK)
    tree = "tree"
    states_metadata = True
    program = "basf2"

    def write_recipe(self, campaign: Campaign, step: Step, repository: Repository) -> dict[str, Any]:
        """The release, the digest of the steering script, and the step's deviations."""
        deviations = {
            "variant": step.variant,
            "overrides": [[one.module, one.parameter, one.value] for one in step.deviations.overrides],
            # the output does not depend on their order
            "additional_branches": sorted(one.name for one in step.deviations.additional_branches),
        }
        return {
            "application": self.name,
            "release": campaign.release,
            "steering": digest_steering(render_script(step, repository)),
            **omit_empty(deviations),
        }

    def write_files(self, step: Step, repository: Repository) -> dict[str, bytes]:
        """The steering script of the step."""
        return {STEERING: render_script(step, repository).encode()}

    def describe_job(
        self, campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
    ) -> dict[str, Any]:
        """The command, the files with the conditions, release, global tags, deviations, and the wanted skims."""
        launcher = [*site.launchers[self.name], campaign.release or ""] if self.name in site.launchers else []
        is_held = find_trust(campaign, step, repository, site) is None and site.payloads is not None
        held = {"local_conditions": LOCAL_CONDITIONS, "payload_folder": site.payloads} if is_held else {}
        return {
            "command": [*launcher, "basf2", STEERING, "--", JOB],
            "conditions": CONDITIONS,
            **held,
            **describe_steering(campaign, step, repository, site, outputs),
        }

    def limit_events(self, described: Mapping[str, Any], most: int) -> dict[str, Any]:
        """The same with the option `-n` of basf2, which ends the processing after so many events.

        Source: basf2 `framework/core/src/EventProcessor.cc` and `pEventProcessor.cc`, `getNumberEventsOverride`.
        """
        command = list(described["command"])
        place = command.index(STEERING)
        limited = {**described, "command": [*command[:place], "-n", str(most), *command[place:]]}
        return super().limit_events(limited, most)

    def name_file(self, step: Step, output: str, stem: str) -> str:
        """The level comes before the stem, except for RAW skims and for skims whose level stands at the end.

        A skim stands before the number of the file, as in public paths: `mdst.physics.0003.05241.HLT0.hlt_hadron.f00000.root`.
        """
        if not step.skims:
            return f"{output}.{stem}.root"
        whole, index = _divide_stem(stem)
        if step.skim_level is not None:  # basf2 appends the level to names that do not end with it
            return f"{whole}.{output}{index}.{step.skim_level}.root"
        level = step.level_of(output)
        return f"{'' if level == 'raw' else f'{level}.'}{whole}.{output}{index}.root"


def render_script(step: Step, repository: Repository) -> str:
    """The steering script of a step, the same for all its jobs.

    Raises:
        TemplateBroken: the step's template cannot be rendered.
    """
    template = repository.templates[step.template or ""]
    return render_steering(template, template.settings(dict(step.parameters)))


def find_trust(campaign: Campaign, step: Step, repository: Repository, site: Site) -> str | None:
    """Why a step's jobs might read other payloads than those of their runs; None if they cannot.

    Releases from 04 on read a conditions metadata file. Older releases read a local database, whose files must be at the site.
    """
    if not step.keys.software or reads_metadata(campaign.release or ""):
        return None
    template = repository.templates.get(step.template or "")
    if not site.traits.runtime:
        return f"jobs of the grid read no local database, and {campaign.release} nothing else"
    if site.payloads is None:
        return f"{campaign.release} reads them from a local database, and {site.name} names no folder of payload files (`payloads`)"
    if template is None or not template.holds_payloads:
        return f"{step.template} takes no local database of the run; a later version does"
    return None


def describe_steering(
    campaign: Campaign, step: Step, repository: Repository, site: Site, outputs: Container[str]
) -> dict[str, Any]:
    """What a steering script reads at all sites: release, global tags, deviations, and those of the skims in `outputs`."""
    wanted = [name for name in step.outputs if name in outputs] if step.skims else []
    deviations = {
        "variant": step.variant,
        "overrides": [asdict(one) for one in step.deviations.overrides],
        "testing_payloads": [
            {
                **asdict(one),
                "database": f"{site.testing_payloads}/{one.name}/database.txt",
                "payloads": {
                    f"dbstore_{iov.payload}_rev_{iov.revision}.root": iov.checksum
                    for iov in repository.snapshots[one.name].iovs
                },
            }
            for one in step.deviations.testing_payloads
        ],
        "additional_branches": [asdict(one) for one in step.deviations.additional_branches],
        "skim_tags": campaign.skim_tags,
        "skims": {name: repository.skims[name].describe() for name in wanted},
    }
    return {
        "release": campaign.release,
        "global_tags": [tag.name for tag in campaign.global_tags],
        **omit_empty(deviations),
    }


def _divide_stem(stem: str) -> tuple[str, str]:
    """The stem without the number of the file, and that number as in `.f00000`, empty if there is none."""
    found = re.fullmatch(r"(.+)(\.f[0-9]{5})", stem, re.ASCII | re.DOTALL)
    return (found[1], found[2]) if found else (stem, "")
