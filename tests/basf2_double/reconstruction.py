"""The standard reconstruction: its order, what leads to other paths, and what it cannot do without."""

from __future__ import annotations

import mdst
import rawdata
from basf2 import AfterConditionPath, Path
from double_facts import FACTS, behaves, bind, has
from double_log import B2ERROR, B2FATAL
from double_modules import add_plain

RAW = [f"Raw{one}s" for one in ("PXD", "SVD", "CDC", "TOP", "ARICH", "KLM", "ECL")]
TRACKING = ["RecoTracks", "Tracks", "TrackFitResults", "V0s", "EventT0", "PXDClustersFromTracks"]
FULL = ["RecoTracks", "EventT0", "ECLDigits", "TOPDigits", "ExtHits"]


def _is_on(name, components):
    return not components or name in components


def _check_values(bound):
    for name, value in bound.items():
        known = FACTS["values"].get(name)
        if known is not None and name != "components" and value not in known["values"]:
            raise KeyError(value)


def _add_tracking(path, components):
    add_plain(path, "ECLShowers", makes=["ECLShowers"] if _is_on("ECL", components) else [])
    if _is_on("SVD", components):
        add_plain(path, "SVDClusterizer", makes=["SVDClusters"])
    if _is_on("PXD", components):
        add_plain(path, "PXDClusterizer", makes=["PXDClusters"])
    if _is_on("CDC", components) or _is_on("SVD", components):
        add_plain(path, "DAFRecoFitter", makes=["RecoTracks"], name="Combined_DAFRecoFitter")
        add_plain(path, "TrackCreator", makes=["Tracks", "TrackFitResults"])


def _add_dedx(path, components):
    if _is_on("CDC", components):
        add_plain(path, "CDCDedxPID", needs=["Tracks", "RecoTracks"])
    if _is_on("SVD", components):
        add_plain(path, "VXDDedxPID", needs=["Tracks", "RecoTracks", "SVDClusters"])


def _add_vxd_for_cdst(path, components):
    if _is_on("PXD", components):
        add_plain(
            path, "PXDClustersFromTracks", ["PXDClusters", "RecoTracks", "Tracks"], ["PXDClustersFromTracks"]
        )
    if _is_on("SVD", components):
        add_plain(path, "SVDShaperDigitsFromTracks", needs=["SVDClusters", "RecoTracks", "Tracks"])


def _add_posttracking(path, components, *, combine):
    if _is_on("CDC", components):
        add_plain(path, "Ext", makes=["ExtHits"])
    for one in ("TOP", "ARICH"):
        if _is_on(one, components):
            add_plain(path, f"{one}Reconstructor", needs=["Tracks", "ExtHits"])
    if combine:
        add_plain(path, "EventT0Combiner", makes=["EventT0"])
    if _is_on("ECL", components):
        add_plain(path, "ECLFinalizer", makes=["ECLClusters"])
    if _is_on("KLM", components):
        add_plain(path, "KLMReconstructor", makes=["KLMClusters"])
    if _is_on("ECL", components) and any(_is_on(one, components) for one in ("PXD", "SVD", "CDC")):
        add_plain(path, "ECLTrackClusterMatching", needs=["Tracks", "ExtHits", "ECLClusters"])


def _add_trigger(path, components):
    if all(_is_on(one, components) for one in ("CDC", "ECL")):
        add_plain(path, "SoftwareTrigger", makes=["SoftwareTriggerResult"])


def add_reconstruction(*given, **named):
    bound = bind("reconstruction.add_reconstruction", *given, **named)
    _check_values(bound)
    path, components = bound["path"], bound["components"]
    old = "trigger_mode" in bound
    if not old:
        rawdata.check_components(components)
        doom = add_plain(path, "EventsOfDoomBuster")
        doom.if_value(">=1", Path(), AfterConditionPath.END)
    _add_tracking(path, components)
    cdst = bound.get("reconstruct_cdst")
    if cdst is not None and cdst not in ("rawFormat", "fullFormat"):
        raise ValueError(cdst)
    if cdst:
        _add_vxd_for_cdst(path, components)
    if cdst == "rawFormat" and not bound["add_trigger_calculation"]:
        _add_dedx(path, None if not has("reconstruction.prepare_user_cdst_analysis") else components)
        return
    _add_dedx(path, components)
    _add_posttracking(path, components, combine=True)
    if bound["trigger_mode"] == "all" if old else bound["add_trigger_calculation"]:
        _add_trigger(path, components)


def add_cosmics_reconstruction(*given, **named):
    bound = bind("reconstruction.add_cosmics_reconstruction", *given, **named)
    _check_values(bound)
    path, components = bound["path"], bound["components"]
    if _is_on("CDC", components):
        _add_tracking(path, components)
    cdst = bound.get("reconstruct_cdst", False)
    assert isinstance(cdst, bool), cdst
    if cdst:
        _add_vxd_for_cdst(path, components)
        _add_dedx(path, components)
    else:
        _add_dedx(path, components)
        _add_posttracking(path, components, combine=True)


def add_mdst_output(*given, **named):
    bound = bind("reconstruction.add_mdst_output", *given, **named)
    return mdst.write_mdst(**bound)


def add_cdst_output(*given, **named):
    bound = bind("reconstruction.add_cdst_output", *given, **named)
    path, needed = bound["path"], behaves("cdst_output_needs_module")
    raw = bound.get("rawFormat", needed is not None)
    if (
        raw
        and needed not in [one.name() for one in path.modules()]
        and not bound.get("ignoreInputModulesCheck")
    ):
        B2ERROR(f"{needed} is required in CDST output but its module is not found in the input path!")
    description = dict(bound["dataDescription"] or {})
    description.setdefault("dataLevel", "cdst")
    branches = [*TRACKING, *RAW, "SoftwareTriggerResult"] if raw else [*mdst.MDST, *FULL]
    return path.add_module(
        "RootOutput",
        outputFileName=bound["filename"],
        branchNames=[*branches, *(bound["additionalBranches"] or [])],
        additionalDataDescription=description,
    )


def _prepare(path, components, *, combine):
    rawdata.add_unpackers(path, components=components)
    for one in ("SVD", "PXD"):
        if _is_on(one, components):
            add_plain(path, f"{one}Clusterizer", makes=[f"{one}Clusters"])
    _add_posttracking(path, components, combine=combine)


if has("reconstruction.prepare_cdst_analysis"):

    def prepare_cdst_analysis(*given, **named):
        bound = bind("reconstruction.prepare_cdst_analysis", *given, **named)
        _prepare(bound["path"], bound["components"], combine=bound.get("add_eventt0_combiner", False))


if has("reconstruction.prepare_user_cdst_analysis"):

    def prepare_user_cdst_analysis(*given, **named):
        bound = bind("reconstruction.prepare_user_cdst_analysis", *given, **named)
        if bound["mc"]:
            B2FATAL("tests have no simulated cdst")
        _prepare(bound["path"], bound["components"], combine=True)


for _name in ("add_mdst_output", "add_cdst_output"):
    if not has(f"reconstruction.{_name}"):
        del globals()[_name]
