"""Why a production request cannot be submitted: what is not public, and what is not known here, each with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from renderer.jobs.grid_input import TOP, GridInput
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step

NOT_PUBLIC = ("FabricationType", "ProductionGroup", "Priority")
"""The keys whose values are public for skims alone."""

ENERGIES = ("4S", "4S_offres", "4S_scan", "5S", "5S_offres", "5S_scan", "3S", "3S_offres")
"""What the grid calls beam energies."""

UNKNOWN = "unknown"


def find_gaps(
    campaign: Campaign, step: Step, content: Mapping[str, Any], sources: Sequence[GridInput]
) -> Iterator[str]:
    """What keeps a request from being submitted, in the order of importance; `content` is what it says so far."""
    if secret := [key for key in NOT_PUBLIC if content[key] == UNKNOWN]:
        yield f"what the grid expects for anything but skims is not public: {', '.join(secret)}"
    if content["DBGlobalTag"] == UNKNOWN:
        yield _explain_unknown_tag(campaign, step, sources)
    energy = content["BeamEnergy"]
    if energy == UNKNOWN:
        yield "the beam energy of the runs is not known: import it with `b2prod runs import`"
    elif energy not in ENERGIES:
        yield f"what the grid calls the beam energy {energy} is not public; it has {', '.join(ENERGIES)}"
    if not content["InputData"]:
        yield "no input is registered"
    if strange := [folder for source in sources for folder in source.strange]:
        raw = ", and the one of RAW is not public" if step.input.level == "raw" else ""
        yield f"the input {strange[0]} has no logical path of the grid, which begins with {TOP}{raw}"
    if simulated := [folder for source in sources for folder in source.simulated]:
        yield f"the input {simulated[0]} is simulated, and these are requests for real data"
    names = Counter(tuple(sorted(one.items())) for one in content["DataDescription"])
    for name, count in names.items():
        if count > 1:
            known = dict(name)
            yield f"{count} outputs are the same to the grid: {known.get('GeneralSkimName') or known.get('') or known}"
    for key, what in (("ExpectedEventSize", "size"), ("ExpectedEventCPUTime", "CPU time")):
        if key not in content:
            instead = "write `expected` into the step, or run some of it at another site"
            yield f"the {what} of an event is not known: {instead}"
    for one in step.deviations.testing_payloads:
        yield f"the testing payloads {one.name} are in a folder of the site, which jobs of the grid do not see"


def _explain_unknown_tag(campaign: Campaign, step: Step, sources: Sequence[GridInput]) -> str:
    several = next((source.tags for source in sources if len(source.tags) > 1), None)
    if several is not None:
        return f"files of one run were made with several global tags: {', '.join(several)}"
    if step.input.step is None and step.input.level != "raw":
        return "the path of the input does not tell the number of the global tag that it was made with"
    tag = campaign.tag_names[0]
    return f"the number of the global tag {tag} is not known: `b2prod gt pull {tag}` tells it"
