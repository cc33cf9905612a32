"""Evidence for the stages of schemes, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def reaches(number: int, of: int, share: float) -> bool:
    """Whether a number of runs is at least a share of others; a product of it may be too large by rounding."""
    return number >= share * of - 1e-9


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many of the declared runs a step has made. `missing` counts the others by the plan's word for them.

    `name` is as in `proc8/reco`, with the variant. `content` is the digest of what was made; empty if nobody asks for it.
    """

    name: str
    declared: int
    made: int
    missing: Mapping[str, int] = field(default_factory=dict)
    content: str = ""

    def reaches(self, share: float) -> bool:
        """Whether at least this share of the declared runs was made; never if no run is declared."""
        return self.declared > 0 and reaches(self.made, self.declared, share)


@dataclass(frozen=True, slots=True)
class KeptComparison:
    """A comparison that the ledger keeps. `stale` says why it tells nothing of what is there now; None if it does."""

    digest: str
    verdict: str
    created: str
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What the ledger has of one iteration of a hand-over, and what the repository has of the global tag that it returns to.

    `editions` maps what was handed over to digests. `returned` are the names of the payloads that came back, with the digest and
    the time of their return; None as long as nothing did. `tag` is the digest of the tag's snapshot, None if that was not pulled
    since; `differences` say in words what else than these payloads it holds or lacks beside its base. `partial` says which of
    the runs that the scheme wants were not handed over; None if all were. `again` says
    which were made again since; None if none was.
    """

    iteration: int
    digest: str
    editions: Mapping[str, str]
    created: str
    returned: tuple[str, ...] = ()
    return_digest: str | None = None
    return_time: str | None = None
    tag: str | None = None
    differences: tuple[str, ...] = ()
    partial: str | None = None
    again: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedDataset:
    """What is published, or was announced, of a dataset that a stage names. `lacking` says why it does not suffice; None if it does.

    `edition` is that edition, `digest` and `time` are its own and that of its publication or announcement; None if there is none.
    """

    name: str
    edition: str | None = None
    digest: str | None = None
    time: str | None = None
    places: tuple[str, ...] = ()
    lacking: str | None = None


@dataclass(frozen=True, slots=True)
class StageEvidence:
    """What was seen of a stage, for one bucket. `unread` says why something of it cannot be read; then it proves nothing.

    `iteration` is that of what is handed over, counted from 1; 0 for other stages.
    """

    counts: tuple[StepCount, ...] = ()
    comparison: KeptComparison | None = None
    hand_over: HandedOver | None = None
    published: tuple[PublishedDataset, ...] = ()
    announced: tuple[PublishedDataset, ...] = ()
    iteration: int = 0
    unread: str | None = None
