"""The largest cost of one manifest, as docs/threats.md promises."""

from __future__ import annotations

PROMISED_SECONDS, PROMISED_BYTES = 3.0, 300 * 2**20
MARGIN = 3
"""The factor on processor time for slower or busy machines."""
