"""b2prod's clock as it will be: what waits for days is tried at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from reconciler.outside.clock import CLOCK


@contextlib.contextmanager
def later(days: float) -> Iterator[None]:
    """b2prod's clock is ahead by some days."""
    before = CLOCK.time
    object.__setattr__(CLOCK, "time", lambda: before() + 86_400 * days)
    try:
        yield
    finally:
        object.__setattr__(CLOCK, "time", before)
