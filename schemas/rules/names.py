"""Rules on the names of campaigns and steps, and on names that contain them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from schemas.findings.finding import Finding, Place
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import HOLDERS
from schemas.manifest.runs import RUN_LIMIT
from schemas.manifest.step import Step
from schemas.manifest.variant import find_declared, is_expandable
from schemas.repository import CAMPAIGNS, FOLDERS, NAME, NAME_HINT, Repository
from schemas.rules.support.folders import LONGEST, fill_folders
from schemas.yaml.scalars import code_points, show

RESERVED = frozenset({"attempt", "fingerprint", "all", "skim", *HOLDERS})
"""Names with a meaning in paths, records and reports of b2prod."""
RESERVED_PREFIX = "b2p-"
"""The beginning of every job's name."""
JOB_NAME_LIMIT = 128
"""The length in bytes of a job's name that every engine shows in full."""
STEP_NAME_LIMIT = 64
"""The length of a step's name with its variant that fits into the ledger."""
COMPONENT_LIMIT = 255
"""The length in bytes of one component of a path (POSIX NAME_MAX)."""

_EXPERIMENT = re.compile(r"(?<![a-z])exp0*([0-9]{1,6})(?![0-9])")
_COSMIC = re.compile(r"gcr|cosmic")


def check_campaign_names(repository: Repository) -> Iterator[Finding]:
    """Ensure that every campaign's folder has a legal name, which differs from others in more than capitals.

    This includes campaigns whose manifest cannot be read.
    """
    seen: dict[str, str] = {}
    for name in sorted(find_folders(repository)):
        other = seen.setdefault(name.lower(), name)
        if not NAME.fullmatch(name):
            odd = "" if name.isascii() else f": {code_points(name)}"
            message = f"the folder {show(name)} is not a legal name of a campaign{odd}"
            yield Finding(
                _place(name), "BP301", message, f"rename it to {show(_legalise(name))}; {NAME_HINT}"
            )
        if other != name:
            message = f"campaigns {show(name)} and {show(other)} ({_place(other)}) differ in capitals only"
            yield Finding(_place(name), "BP302", message, "give one of them another name")
        if _is_reserved(name):
            message = f"the name {show(name)} belongs to the tool"
            yield Finding(_place(name), "BP210", message, "give the campaign another name")


def check_step_names(repository: Repository) -> Iterator[Finding]:
    """Ensure that steps do not use reserved names."""
    for _, document, step in repository.list_steps():
        if _is_reserved(step.name):
            message = f"the name {show(step.name)} belongs to the tool"
            yield document.report_key(("steps", step.name), "BP210", message, "give the step another name")


def check_assembled_names(repository: Repository) -> Iterator[Finding]:
    """Ensure that job names and path components are within the limits of engines and file systems."""
    for campaign, document in repository.list_campaigns():
        # another rule reports too many variants
        steps = campaign.expand() if is_expandable(campaign.steps) else campaign.steps
        step = max(steps, key=lambda one: len(one.name))
        path = ("steps", find_declared(step.name))
        if len(step.name) > STEP_NAME_LIMIT:
            message = f"variant {step.name} has {len(step.name)} bytes; at most {STEP_NAME_LIMIT} are kept"
            hint = "shorten the names of the step, and of the skims and points that tell its variants apart"
            yield document.report_key(path, "BP303", message, hint)
        job = _assemble_job_name(campaign, step)
        if len(job.encode()) > JOB_NAME_LIMIT:
            message = f"the job name {job} has {len(job.encode())} bytes; at most {JOB_NAME_LIMIT} are shown in full"
            hint = "shorten the name of the step or of the campaign"
            yield document.report_key(path, "BP303", message, hint)
        folders = (folder for _, _, folder in fill_folders(repository, campaign, LONGEST))
        component = max((part for folder in folders for part in folder.split("/")), key=len, default="")
        if len(component.encode()) > COMPONENT_LIMIT:
            message = f"the path component {component} has {len(component.encode())} bytes; at most {COMPONENT_LIMIT} are legal"
            hint = "choose a layout that puts fewer fields into one folder, or shorter names"
            yield document.report(("layout",), "BP303", message, hint)


def check_experiment_names(repository: Repository) -> Iterator[Finding]:
    """Ensure that experiments and cosmic runs in a campaign's name agree with its selection.

    `exp5` means experiment 5; `exp30_to_exp35` means those and all between. `GCR` or `cosmic`, in any capitals, excludes
    selectors with physics and beam runs only.
    """
    for campaign, document in repository.list_campaigns():
        name = campaign.name
        told = [int(number) for number in _EXPERIMENT.findall(name.lower())]
        cosmic = _COSMIC.search(name.lower())
        for index, selector in enumerate(campaign.selectors):
            if told and not min(told) <= selector.experiment <= max(told):
                first, last = min(told), max(told)
                said = f"experiments {first} to {last}" if first < last else f"experiment {first}"
                message = f"{show(name)} reads experiment {selector.experiment}, its name says {said}"
                hint = "rename the campaign, or correct the experiment"
                yield document.report(("runs", index, "experiment"), "BP604", message, hint)
            if cosmic and selector.types and set(selector.types) <= {"physics", "beam"}:
                message = f"{show(name)} reads {' and '.join(selector.types)} runs only, not cosmic ones"
                hint = "write `types: [cosmic]`, or rename the campaign"
                yield document.report(("runs", index, "types"), "BP604", message, hint)


def find_folders(repository: Repository) -> set[str]:
    """The names of all campaigns, including those that cannot be read."""
    broken = (PurePosixPath(file) for file in repository.broken)
    return set(repository.campaigns) | {
        path.parts[2] for path in broken if "/".join(path.parts[:2]) in FOLDERS and len(path.parts) > 3
    }


def _place(name: str) -> Place:
    return Place(f"{CAMPAIGNS}/{name}/campaign.yaml")


def _legalise(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)
    return re.sub(r"^[^A-Za-z0-9]+", "", plain)[:40].rstrip("_.+-") or "campaign"


def _is_reserved(name: str) -> bool:
    return name.lower() in RESERVED or name.lower().startswith(RESERVED_PREFIX)


def _assemble_job_name(campaign: Campaign, step: Step) -> str:
    """The longest name of a job of the step."""
    runs = (
        (one.experiment, RUN_LIMIT if one.is_open else max((item.last for item in one.ranges), default=0))
        for one in campaign.selectors
    )
    experiment, run = max(runs, key=lambda pair: len(f"{pair[0]}{pair[1]}"))
    unit = f"{campaign.name}-{step.path}-e{experiment}r{run}"
    return f"{RESERVED_PREFIX}0000-{unit}-j00000000-i99999999-a{campaign.limits.max_attempts}"
