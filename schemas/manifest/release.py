"""What the name of a release of basf2 says: its number, and what releases of that number can do."""

from __future__ import annotations

import re

_RELEASE = re.compile(r"(?:pre)?release-([0-9]{2})-")
_LIGHT = re.compile(r"light-(2[2-9])[0-9]{2}-")


def number_release(release: str) -> int | None:
    """The first number of a release, as 3 of `prerelease-03-00-00b`; 6 for light releases of 2022 and later.

    None for any other name. These light releases have what release 06 has, and more.
    """
    if match := _RELEASE.match(release):
        return int(match[1])
    return 6 if _LIGHT.match(release) else None


def reads_metadata(release: str) -> bool:
    """Whether jobs of a release can be held to the payloads in a conditions metadata file (`conditions.sqlite`).

    Releases from 04 on can: `basf2.conditions` came with them (basf2 `framework/database/src/Configuration.cc`). For names
    that do not tell it is False.
    """
    number = number_release(release)
    return number is not None and number >= 4
