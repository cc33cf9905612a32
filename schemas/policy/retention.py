"""Retention: how many datasets of a chain stay on disk, what goes to tape, and how many versions of an output stay.

It is policy: whoever could change it by a campaign could let data of others go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.json_schema.validation import load_schema
from schemas.json_schema.values import read_value
from schemas.manifest.step import HISTOGRAM_OUTPUTS, HISTOGRAMS
from schemas.yaml.document import Document

RETENTION = "productions/retention.yaml"

ALL, REST, NONE = "all", "rest", "none"
"""What of the outputs is copied to tape: all, those that leave the disk, or none. `ALL` is also no limit of a number."""

SKIM = "skim"

AFTER_DAYS = 30
"""The default number of days after which a dataset leaves the disk, and an old version goes."""

QUARANTINE_DAYS = 30
"""The default number of days for which old versions are kept in the trash."""


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What stays where, of the outputs that the rule fits. Without `kinds` or `levels` it fits all of them.

    `disk` is how many datasets of a chain stay on disk, `versions` how many versions of an output stay, the newest included;
    None means all. `tape` is `ALL`, `REST` or `NONE`. `sample` is how many percent of the files of an operation are read back
    from tape at a site without a checksum command; None means that such a command is needed.
    """

    site: str
    kinds: frozenset[str] = frozenset()
    levels: frozenset[str] = frozenset()
    disk: int | None = None
    tape: str = NONE
    versions: int | None = None
    after_days: int = AFTER_DAYS
    quarantine_days: int = QUARANTINE_DAYS
    sample: int | None = None

    def fits(self, site: str, kind: str, level: str) -> bool:
        """Whether it says something of the outputs of a level, of campaigns of a kind, at a site."""
        return (
            self.site == site
            and (not self.kinds or kind in self.kinds)
            and (not self.levels or level in self.levels)
        )


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The rules in their order."""

    rules: tuple[RetentionRule, ...]
    document: Document = field(repr=False, compare=False)

    def find_rule(self, site: str, kind: str, level: str) -> RetentionRule | None:
        """The first rule that fits; None if all of it stays where it is."""
        return next((rule for rule in self.rules if rule.fits(site, kind, level)), None)


def read_retention(document: Document) -> RetentionPolicy:
    """The retention in a document that the schema `retention/1` has accepted."""
    rules = []
    for data in document.data["rules"]:
        limits = {key: None if data.get(key, ALL) == ALL else data[key] for key in ("disk", "versions")}
        rules.append(read_value(RetentionRule, data, **limits))
    return RetentionPolicy(tuple(rules), document)


def list_levels() -> tuple[str, ...]:
    """The levels that a rule may name."""
    rule = load_schema("retention")["properties"]["rules"]["items"]
    return tuple(rule["properties"]["levels"]["items"]["enum"])


def find_retained_level(output: str) -> str:
    """The level that rules know an output by: its data level, `histograms`, or `skim` for the name of a skim."""
    if output in HISTOGRAM_OUTPUTS:
        return HISTOGRAMS
    return output if output in list_levels() else SKIM
