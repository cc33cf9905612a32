"""Names of raw data in the DAQ's sequential format, and which of them belong to one set.

Source: basf2 `framework/pcore/src/SeqFile.cc`, which writes and reads such sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(?P<first>.+\.sroot)(?:-(?P<part>[1-9][0-9]*))?(?P<packed>\.gz)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Where a file stands in a set: basf2 reads `X.sroot`, then by itself `X.sroot-1`, `X.sroot-2` … beside it.

    `before` and `after` are the names of its neighbours; the first part has none before it.
    """

    number: int
    before: str | None
    after: str


def read_part(name: str) -> Part | None:
    """Where a file of that name stands in its set; None for the name of any other kind of file.

    >>> read_part("physics.0003.00529.sroot-1.gz").before
    'physics.0003.00529.sroot.gz'
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    number, packed = int(found["part"] or 0), found["packed"] or ""

    def name_part(place: int) -> str:
        return f"{found['first']}{f'-{place}' if place else ''}{packed}"

    return Part(number, name_part(number - 1) if number else None, name_part(number + 1))
