"""Retirements: data that are no longer needed. Declared, checked and approved; nothing is deleted by any of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from schemas.files.canonical import digest
from schemas.json_schema.values import read_value
from schemas.yaml.document import Document

RETIREMENTS = "productions/retirements"
"""The folder of the manifests: NAME.yaml, with what people signed in NAME/approvals."""


@dataclass(frozen=True, slots=True, order=True)
class RetiredDataset:
    """What a campaign made: of one step, or of all (None)."""

    campaign: str
    step: str | None = None

    def __str__(self) -> str:
        return self.campaign if self.step is None else f"{self.campaign}/{self.step}"


@dataclass(frozen=True, slots=True)
class Retirement:
    """Datasets that are to go, why, what takes their place, and for how many days they can still be had back.

    `successor` is a campaign, or `none` where nothing takes their place. What is left out is None; a rule asks for it.
    """

    name: str
    title: str
    datasets: tuple[RetiredDataset, ...]
    document: Document
    reason: str | None = None
    successor: str | None = None
    quarantine_days: int | None = None

    def actions(self) -> dict[str, Any]:
        """What would be done, as JSON data: no more and no less is approved. The title is not part of it."""
        return {
            "retirement": self.name,
            "datasets": [asdict(one) for one in sorted(self.datasets, key=str)],
            "reason": self.reason,
            "successor": self.successor,
            "quarantine_days": self.quarantine_days,
        }

    def digest(self) -> str:
        """The digest of the actions, to which approvals are bound."""
        return digest(self.actions())


def read_retirement(name: str, document: Document) -> Retirement:
    """The retirement that a document, accepted by the schema `retirement/1`, declares."""
    return read_value(Retirement, document.data, name=name, document=document)
