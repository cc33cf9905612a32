"""Catalogues of datasets: manifests beside the data, and Rucio."""
