"""A job of basf2, releases 02 and 03. Names, tags, seed and deviations come from the job's JSON file."""

import json
import sys

import basf2
from rawdata import add_unpackers
from reconstruction import add_cdst_output, add_reconstruction
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


# The localdb folder and the default tag would be asked before ours; of a chain, the source added last is asked first.
basf2.reset_database()
basf2.use_database_chain()
for tag in reversed(job["global_tags"]):
    basf2.use_central_database(tag)
for local in reversed(job.get("testing_payloads", [])):
    basf2.use_local_database(local["database"])

basf2.set_random_seed(job["seed"])

path = basf2.create_path()
path.add_module(
    "RootInput",
    inputFileNames=[item["path"] for item in job["inputs"]],
    ignoreCommandLineOverride=True,
)
path.add_module(DeclareRealData())
path.add_module("Gearbox")
path.add_module("Geometry")
add_unpackers(path, components=components)
add_reconstruction(
    path,
    components=components,
    pruneTracks=True,
    trigger_mode='all',
)

for output in job["outputs"]:
    if output["level"] == "cdst":
        add_cdst_output(path, mc=False, filename=output["file"], dataDescription=describe(output))
    else:
        basf2.B2FATAL("this template does not write " + output["level"])

for override in job.get("overrides", []):
    basf2.set_module_parameters(
        path, override["module"], recursive=True, **{override["parameter"]: override["value"]}
    )

basf2.process(path)
print(basf2.statistics)
