"""The output of mdst."""

from __future__ import annotations

from double_facts import bind

MDST = [
    "Tracks",
    "TrackFitResults",
    "V0s",
    "ECLClusters",
    "KLMClusters",
    "PIDLikelihoods",
    "SoftwareTriggerResult",
]


def add_mdst_output(*given, **named):
    return write_mdst(**bind("mdst.add_mdst_output", *given, **named))


def write_mdst(path, mc, filename, additionalBranches, dataDescription, more=()):
    description = dict(dataDescription or {})
    description.setdefault("dataLevel", "mdst")
    return path.add_module(
        "RootOutput",
        outputFileName=filename,
        branchNames=[*MDST, *(["MCParticles"] if mc else []), *more, *(additionalBranches or [])],
        additionalDataDescription=description,
    )
