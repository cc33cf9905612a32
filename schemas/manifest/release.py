"""Releases of basf2, and what their names tell: the number, and what releases with that number can do."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RELEASE = re.compile(r"(?:pre)?release-([0-9]{2})-")
_LIGHT = re.compile(r"light-(2[2-9])[0-9]{2}-")


@dataclass(frozen=True, slots=True)
class Release:
    """A basf2 release that campaigns may name."""

    name: str
    date: str
    commit: str | None = None
    recommended_tag: str | None = None


def number_release(release: str) -> int | None:
    """The first number of a release: 3 for `prerelease-03-00-00b`; 6 for light releases from 2022 on.

    None for other names. These light releases can do at least what release 06 can.
    """
    if match := _RELEASE.match(release):
        return int(match[1])
    return 6 if _LIGHT.match(release) else None


def reads_metadata(release: str) -> bool:
    """Whether jobs can be restricted to the payloads in a conditions metadata file (`conditions.sqlite`).

    This needs `basf2.conditions`, so release 04 or later (basf2 `framework/database/src/Configuration.cc`). False if the number
    is not known.
    """
    number = number_release(release)
    return number is not None and number >= 4
