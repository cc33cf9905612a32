"""Names of files in the DAQ's sequential format: which of them belong to one set.

Source: basf2 `framework/pcore/src/SeqFile.cc`, which writes and reads such sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(?P<first>.+\.sroot)(?:-(?P<part>[1-9][0-9]*))?(?P<packed>\.gz)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """The place of a file in a set: after `X.sroot`, basf2 reads `X.sroot-1`, `X.sroot-2` … of the same folder.

    `number` is 0 for `X.sroot`. `before` and `after` are the names of its neighbours; `before` is None for the first part.
    """

    number: int
    before: str | None
    after: str


def read_part(name: str) -> Part | None:
    """The place of a file in its set, by its name; None if it is not a name in the sequential format.

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
