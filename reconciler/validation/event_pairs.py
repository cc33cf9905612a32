"""Which events only one of two datasets kept, skim by skim and run by run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reconciler.validation.rate_checks import SkimPair
from schemas.files.canonical import digest
from schemas.manifest.runs import format_run


@dataclass(frozen=True, slots=True)
class EventPairing:
    """Run key → the numbers of events that only the new side and only the reference kept; or why they are not known.

    `checksums` are those of the files that were read, side by side, by run key.
    """

    alone: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    unknown: str = ""
    checksums: tuple[Mapping[int, Sequence[str]], Mapping[int, Sequence[str]]] = ({}, {})


@dataclass(frozen=True, slots=True)
class EventPairs:
    """The pairings of skims, by the names that `SkimPair` has."""

    skims: Mapping[str, EventPairing]

    @property
    def digests(self) -> tuple[str, str]:
        """The digests of the checksums of the files of both sides, with the reasons why some are not known."""
        one, other = (
            digest(
                {
                    skim: [
                        pairing.unknown,
                        {format_run(run): [*some] for run, some in pairing.checksums[side].items()},
                    ]
                    for skim, pairing in self.skims.items()
                }
            )
            for side in (0, 1)
        )
        return one, other

    def join(self, pair: SkimPair) -> SkimPair:
        """The pair with what is known of its events."""
        pairing = self.skims.get(pair.skim, EventPairing(unknown="the files were not read"))
        if pairing.unknown:
            return replace(pair, unpaired=pairing.unknown)
        alone = np.array([pairing.alone[run] for run in pair.runs], dtype=np.int64).reshape(-1, 2).T
        return replace(pair, alone=alone, unpaired="")


def deduce_alone(kept: tuple[int, int], read: int) -> tuple[int, int] | None:
    """How many events only either side kept, where the numbers tell it: one side kept all of them, or none. Else None."""
    one, other = kept
    if min(kept) == 0 or max(kept) == read:
        return max(0, one - other), max(0, other - one)
    return None
