"""Datasets: what is in them, how they compare, their places, the catalogues that know them, and their verification.

Analyses open a dataset with `open_dataset`.
"""

from reconciler.datasets.opening import OpenDataset, open_dataset

__all__ = ["OpenDataset", "open_dataset"]
