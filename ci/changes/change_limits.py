"""What one change may bring: so much that it is judged in seconds, whoever wrote it. Measured before anything is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.files.tree import KIB, MIB

SEPARATORS = (b",", b":", b"\n", b"- ", b"[", b"{", b"?")
"""Every value and key of YAML is beside one of these, so that their number bounds what a file can hold."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of which a change may bring so much, if it brings nothing else."""

    title: str
    endings: tuple[str, ...]
    most: int
    separators: bool = False

    def measure(self, files: Mapping[str, bytes]) -> int:
        """Bytes, or separators."""
        mine = [content for file, content in files.items() if file.endswith(self.endings)]
        if self.separators:
            return sum(content.count(one) for content in mine for one in SEPARATORS)
        return sum(map(len, mine))


KINDS = (
    # seconds of processor time for the most of each, on one core of 2023: 1.5, 0.6, 0.6, 0.2, 0.1
    Kind("separators (`,` `:` `-` and line ends) in YAML files", (".yaml",), 40_000, separators=True),
    Kind("bytes of YAML files", (".yaml",), 512 * KIB),
    Kind("bytes of snapshots", (".iov",), 8 * MIB),
    Kind("bytes of locks", (".lock",), 4 * MIB),
    Kind(
        "bytes of statements and keys", (".json", ".sig", ".pub", "allowed_signers", "revoked_keys"), 32 * MIB
    ),
)


def describe_excess(files: Mapping[str, bytes]) -> str:
    """What is more than one change may bring, for people; an empty text where it is not too much.

    Shares of the kinds are added: half of one and half of another is all that a change may bring.
    """
    shares = [(kind.measure(files), kind) for kind in KINDS]
    if sum(found / kind.most for found, kind in shares) <= 1:
        return ""
    listed = ", ".join(
        f"{found:,} {kind.title} (alone, {kind.most:,} at most)" for found, kind in shares if found
    )
    return f"the change brings {listed}: more than is judged at once; split it"
