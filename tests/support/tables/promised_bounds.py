"""What one manifest may cost at most, as docs/threats.md promises."""

from __future__ import annotations

PROMISED_SECONDS, PROMISED_BYTES = 3.0, 300 * 2**20
MARGIN = 3
"""Of processor time, on machines that are slower than those that the promise is about, or busy."""
