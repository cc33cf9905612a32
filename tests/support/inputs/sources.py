"""Sources of steps: what is registered of a data level, as the digests of the files of each run."""

from __future__ import annotations

from renderer.identity.units import Source
from schemas.manifest.dataset import hold_level


def make_sources(registered):
    """Data level → run key → digest, as the sources that a campaign declares its units with."""
    return {level: Source(hold_level(level), digests) for level, digests in registered.items()}
