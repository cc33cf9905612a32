"""The modules that steering scripts add by name, and plain ones, which only leave their name behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

from double_facts import FACTS, behaves, read_default
from double_log import B2ERROR, B2FATAL, B2WARNING
from double_store import STORE, FileMetaData, take_result


def make(kind):
    """A module of that name, with the parameters and defaults of this state."""
    import basf2  # it imports this module first

    class Made({**KINDS}.get(kind, Plain), basf2.Module):
        def __init__(self):
            basf2.Module.__init__(self)
            self._type = self._name = kind
            known = FACTS["modules"].get(kind, {"parameters": PLAIN.get(kind, {})})["parameters"]
            self._parameters = {
                name: None if text is None else read_default(text) for name, text in known.items()
            }

    return Made()


class Plain:
    """Leaves its name with each event; `needs` are branches without which it is an ERROR."""

    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()

    def initialize(self):
        for branch in self.needs:
            if branch not in STORE.registered:
                B2ERROR(
                    f"The required {branch} does not exist. Maybe you forgot the module that registers it?"
                )
        STORE.registered.update(self.makes)

    def event(self):
        STORE.history.append(self._name)


class RootInput:
    def initialize(self):
        self.entries, self.files, self.place, self.last = [], [], 0, None
        for name in self._parameters["inputFileNames"]:
            try:
                file = json.loads(Path(name).read_text())
            except OSError as error:
                B2FATAL(f"Could not open input file {name}: {error}")
            if not file["tree"] and behaves("input_skips_empty_files"):
                B2WARNING(f"File appears to be empty, skipping {name}")
                continue
            self._workaround(file["FileMetaData"])
            self.files.append(file)
            if behaves("input_refuses_real_beside_simulated"):
                if len({one["FileMetaData"]["isMC"] for one in self.files}) > 1:
                    B2FATAL(f"Could not open input file {name}: Mixing real data and simulated data")
                if set(self.files[0]["branches"]) - set(file["branches"]):
                    B2FATAL(f"Could not open input file {name}: branches are missing")
            self.entries += [(len(self.files) - 1, entry) for entry in file["tree"]]
        if not self.files:
            B2FATAL("No file could be opened, aborting")
        STORE.registered |= {"EventMetaData", *self.files[0]["branches"]}
        STORE.metadata_registered = True
        STORE.metadata = FileMetaData(self.files[0]["FileMetaData"])

    def event(self):
        while self.place < len(self.entries):
            file, entry = self.entries[self.place]
            self.place += 1
            if file != self.last:  # the metadata come from the file again, whatever was said of the last one
                STORE.metadata = FileMetaData(self.files[file]["FileMetaData"])
                self.last = file
            if entry.get("errorFlag") and self._parameters.get("discardErrorEvents"):
                continue
            STORE.event = json.loads(json.dumps(entry))
            STORE.history = []
            return
        STORE.event = None

    def _workaround(self, said):
        early = str(said.get("site", "")).startswith("bfe0") and said.get("date", "9") < "2019-06-30"
        if early and behaves("input_declares_files_of_the_daq_before_2019_06_30_real"):
            said["isMC"] = False


class SeqRootInput:
    def initialize(self):
        self.records = []
        for name in self._parameters["inputFileNames"]:
            part = Path(name)
            number = 0
            while (
                part.exists() or not number
            ):  # `framework/pcore/src/SeqFile.cc`: the next file is opened at an end
                self.records += json.loads(part.read_text())["records"]
                number += 1
                part = Path(f"{name}-{number}")
        STORE.registered |= {"EventMetaData", *self.records[0]["objects"]}
        if self._parameters.get("declareRealData"):
            STORE.metadata_registered = True
            STORE.metadata = FileMetaData({"isMC": False})

    def event(self):
        STORE.event = self.records.pop(0) if self.records else None
        STORE.history = []


class RootOutput:
    def initialize(self):
        STORE.metadata_registered = True
        if "EventMetaData" not in STORE.registered:
            B2ERROR("The required object EventMetaData does not exist.")
        wanted = self._parameters["branchNames"]
        self.branches = sorted(
            name for name in STORE.registered if not wanted or name in (*wanted, "EventMetaData")
        )
        self.wanted = list(wanted or ())
        self.events, self.parents, self.history = [], [], []

    def event(self):
        if STORE.metadata is not None and (lfn := STORE.metadata.said.get("LFN")) not in (
            None,
            *self.parents,
        ):
            self.parents.append(lfn)
        objects = {name: value for name, value in STORE.event["objects"].items() if name in self.branches}
        self.events.append({**STORE.event, "objects": objects})
        self.history = list(STORE.history)

    def terminate(self):
        simulated = STORE.metadata.said["isMC"] if STORE.metadata is not None else True
        said = {
            "LFN": os.path.abspath(self._parameters["outputFileName"]),
            "nEvents": len(self.events),
            "isMC": simulated,
            "parents": self.parents,
            "randomSeed": STORE.seed,
            "globalTag": ",".join(one[4:] for one in STORE.ask if one.startswith("tag ")),
            "dataDescription": self._parameters["additionalDataDescription"] or {},
        }
        file = {
            "FileMetaData": said,
            "branches": self.branches,
            "wanted": self.wanted,
            "tree": self.events,
            "history": self.history,
            "asked": STORE.ask,
        }
        Path(self._parameters["outputFileName"]).write_text(json.dumps(file))


class TriggerSkim:
    def initialize(self):
        self.fallback = self._parameters.get("resultOnMissing")
        if self.fallback is None and "SoftwareTriggerResult" not in STORE.registered:
            B2ERROR("The required object SoftwareTriggerResult does not exist.")

    def event(self):
        results = STORE.event["objects"].get("SoftwareTriggerResult")
        lines = self._parameters["triggerLines"]
        if results is None or not set(lines) <= set(results):
            if self.fallback is None:
                B2FATAL("No HLT Trigger result available, or a line is not in it")
            self.return_value(self.fallback)
            return
        self.return_value(
            int(any(take_result(results[line]) == self._parameters["expectedResult"] for line in lines))
        )


KINDS = {one.__name__: one for one in (RootInput, SeqRootInput, RootOutput, TriggerSkim)}
PLAIN = {"DAFRecoFitter": {"probCut": "0.001"}, "ECLFinalizer": {"clusterEnergyCutMin": "0.02"}}
"""Parameters of plain modules that tests set."""


def add_plain(path, kind, needs=(), makes=(), name=None):
    """Adds a plain module."""
    module = path.add_module(make(kind))
    module.needs, module.makes = tuple(needs), tuple(makes)
    return module.set_name(name) if name else module
