"""Datasets: what is in them, how they compare, their places, the catalogues that know them, and their verification.

Analyses open a dataset with `open_dataset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.datasets.opening import OpenDataset, open_dataset

__all__ = ["OpenDataset", "open_dataset"]


def __getattr__(name: str) -> Any:
    """What analyses import from here; loaded only for them, since the command line needs parts of this room alone."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reconciler.datasets import opening  # noqa: PLC0415 -- see above

    return getattr(opening, name)
