"""Retirements: data that are no longer needed. They are declared and checked here; operations put them into the trash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.json_schema.values import read_value
from schemas.yaml.document import Document

MOST_DELETED = 10_000
"""How many files a retirement may delete if it does not say."""

RETIREMENTS = "productions/retirements"
"""The folder of the manifests NAME.yaml; signed statements are in NAME/approvals."""


@dataclass(frozen=True, slots=True, order=True)
class RetiredDataset:
    """The data of one step of a campaign, or of all its steps (None); only old versions, if some `keep_versions` are to stay."""

    campaign: str
    step: str | None = None
    keep_versions: int | None = None

    def describe(self) -> dict[str, Any]:
        """It as JSON data."""
        kept = {} if self.keep_versions is None else {"keep_versions": self.keep_versions}
        return {"campaign": self.campaign, "step": self.step, **kept}

    def __str__(self) -> str:
        name = self.campaign if self.step is None else f"{self.campaign}/{self.step}"
        return name if self.keep_versions is None else f"{name}, all but {self.keep_versions} versions"


@dataclass(frozen=True, slots=True)
class Retirement:
    """Datasets to delete, the reason, what replaces them, and the number of days in which they can be restored.

    `successor` is a campaign, or `none` if nothing replaces them; `max_delete` is the largest number of files. Missing values are
    None; a rule reports them.
    """

    name: str
    title: str
    datasets: tuple[RetiredDataset, ...]
    document: Document
    reason: str | None = None
    successor: str | None = None
    quarantine_days: int | None = None
    max_delete: int = MOST_DELETED

    def actions(self) -> dict[str, Any]:
        """The actions as JSON data; people approve them together with the outputs they are about. The title is not included."""
        return {
            "retirement": self.name,
            "datasets": [one.describe() for one in sorted(self.datasets, key=str)],
            "reason": self.reason,
            "successor": self.successor,
            "quarantine_days": self.quarantine_days,
            "max_delete": self.max_delete,
        }


def read_retirement(name: str, document: Document) -> Retirement:
    """The retirement in a document that the schema `retirement/1` has accepted."""
    return read_value(Retirement, document.data, name=name, document=document)
