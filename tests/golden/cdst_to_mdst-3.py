"""A job of basf2, release 04 and later. Names, tags, seed and deviations come from the job's JSON file."""

import json
import sys

import basf2
from reconstruction import add_mdst_output, prepare_cdst_analysis
from ROOT import Belle2

with open(sys.argv[1]) as stream:
    job = json.load(stream)

components = [] or None


class DeclareRealData(basf2.Module):
    """Real data, also where the input's metadata do not say so."""

    def initialize(self):
        metadata = Belle2.PyStoreObj("FileMetaData", Belle2.DataStore.c_Persistent)
        if metadata.isValid():
            metadata.declareRealData()

    def beginRun(self):
        self.initialize()


def describe(output):
    """What a file says of itself: its level, and all in which it deviates from the standard."""
    description = {"dataLevel": output["level"]}
    for override in job.get("overrides", []):
        key = "override " + override["module"] + "." + override["parameter"]
        description[key] = "%s (%s: %s)" % (override["value"], override["ticket"], override["reason"])
    for local in job.get("testing_payloads", []):
        description["testing payloads " + local["name"]] = "%s: %s" % (local["ticket"], local["reason"])
    return description


# Exactly these tags, whatever the input's metadata say; testing payloads are asked before them.
basf2.conditions.override_globaltags(job["global_tags"])
for local in reversed(job.get("testing_payloads", [])):
    basf2.conditions.prepend_testing_payloads(local["database"])

basf2.set_random_seed(job["seed"])

path = basf2.create_path()
path.add_module(
    "RootInput",
    inputFileNames=[item["path"] for item in job["inputs"]],
    ignoreCommandLineOverride=True,
)
path.add_module(DeclareRealData())
prepare_cdst_analysis(path, components=components)

for output in job["outputs"]:
    if output["level"] == "mdst":
        add_mdst_output(path, mc=False, filename=output["file"], dataDescription=describe(output))
    else:
        basf2.B2FATAL("this template does not write " + output["level"])

for override in job.get("overrides", []):
    basf2.set_module_parameters(
        path, override["module"], recursive=True, **{override["parameter"]: override["value"]}
    )

basf2.process(path)
print(basf2.statistics)
