"""Global tags that skims of basf2's registry use themselves, in addition to those of the campaign.

In `build_lists` or `additional_setup` some skims call `basf2.conditions.prepend_globaltag` or `append_globaltag`, which
change even an overridden list. The table is from basf2 `skim/scripts/skim/WGs` in the main branch; the releases are inferred
from the notes `whatsnew-since/release-0N-00.txt`, which begin when a release is branched off.

| what | in | source |
|---|---|---|
| `fei.py`, all skims: prepends the analysis tag that is recommended on that day (`getAnalysisGlobaltag`) | 06 | commit 8e4687925, line 190 |
| the same: prepends `analysisGlobaltag`, and ends with B2FATAL without it | 07 and later, light releases | aab2f7d73, 190–192 |
| `ewp.py`, inclusiveBplusToKplusNuNu: appends `mva_inclusiveBplusToKplusNuNu` | until September 2023 | 8e4687925, 390; gone with 2ec88c370 |
| `charm.py`, `semileptonic.py`, nine skims: prepend `analysisGlobaltag`, B2FATAL without | light releases, December 2023 to July 2024 | 9468b625b |
| `quarkonium.py`, CharmoniumPsi: prepends `pidGlobaltag`, B2FATAL without | light releases, until June 2024 | 9468b625b, 195–197 |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.manifest.release import number_release
from schemas.skims.menu import RegistrySkim, Skim

ANALYSIS, PID = "analysis", "pid"
ROLES = (PID, ANALYSIS)
"""The roles of global tags for skims, in the order in which basf2 searches the tags; a tag that is prepended last comes first."""

_CHARM = (
    *("XToD0_D0ToHpJm", "DstToD0Pi_D0ToHpJmPi0", "LambdacTopHpJm", "LambdacToSHpJm", "XicpTopHpJm"),
    *("XictoXimpippim", "Xic0ToLHpJm", "DstToD0Pi_D0ToGeneric", "BtoDl_and_ROE_e_or_mu_or_lowmult"),
)
_LIGHT_NEEDS = {**dict.fromkeys(_CHARM, (2312, 2407, ANALYSIS)), "CharmoniumPsi": (2402, 2406, PID)}
"""The skims that need a tag in light releases: the first and the last such release, and the role."""
_LIGHT = re.compile(r"light-([0-9]{4})-")


@dataclass(frozen=True, slots=True)
class TagNeed:
    """What a skim needs of a campaign: a tag with a `role`, or the tag `appended` at the end of the chain.

    With neither, the skim chooses a tag when it runs, which is not known before.
    """

    skim: str
    role: str | None = None
    appended: str | None = None


def find_needs(skim: Skim, release: str) -> Iterator[TagNeed]:
    """The needs of a skim of a menu, or of the skims that it combines, in a release."""
    members = skim.members if skim.combines else (skim.registered,) if skim.registered is not None else ()
    for member in members:
        yield from _find_needs(member, release)


def takes_role(release: str, role: str) -> bool:
    """Whether skims of a release accept a tag with that role.

    `CombinedSkim` has `analysisGlobaltag` from 07 on and in light releases (2b7d49fff, August 2021), and `pidGlobaltag` from
    09 on and in light releases since December 2023 (fe7018811).
    """
    number, light = number_release(release), _read_light(release)
    if light is not None:
        return light >= {ANALYSIS: 2109, PID: 2312}[role]
    return number is not None and number >= {ANALYSIS: 7, PID: 9}[role]


def _find_needs(skim: RegistrySkim, release: str) -> Iterator[TagNeed]:
    number, light = number_release(release), _read_light(release)
    if skim.module == "fei":
        yield TagNeed(skim.name, role=ANALYSIS if takes_role(release, ANALYSIS) else None)
    elif skim.name == "inclusiveBplusToKplusNuNu":
        if light <= 2309 if light is not None else number is not None and number <= 8:
            yield TagNeed(skim.name, appended="mva_inclusiveBplusToKplusNuNu")
    elif light is not None and skim.name in _LIGHT_NEEDS:
        first, last, role = _LIGHT_NEEDS[skim.name]
        if first <= light <= last:
            yield TagNeed(skim.name, role=role)


def _read_light(release: str) -> int | None:
    """Year and month of a light release, 2305 for `light-2305-korat`."""
    match = _LIGHT.match(release)
    return int(match[1]) if match else None
