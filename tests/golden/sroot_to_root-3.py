"""A job of basf2, releases 02 and 03. Names, tags, seed and deviations come from the job's JSON file."""

import json
import sys

import basf2
from ROOT import Belle2

with open(sys.argv[1]) as stream:
    job = json.load(stream)


def declare_real(metadata):
    """Tells that data are real, where the release keeps such a word.

    FileMetaData.declareRealData is private, for basf2's own modules: Python has it by the name that private methods get.
    """
    if hasattr(metadata, "_FileMetaData__declareRealData"):
        metadata._FileMetaData__declareRealData()
    elif hasattr(metadata, "declareRealData"):
        metadata.declareRealData()


class DeclareRealData(basf2.Module):
    """What the detector wrote is real data, also where a file does not say so, or has no metadata yet.

    At each change of file basf2 reads the metadata again, so they are told for each event.
    """

    def initialize(self):
        metadata = Belle2.PyStoreObj("FileMetaData", Belle2.DataStore.c_Persistent)
        metadata.registerInDataStore()
        if not metadata.isValid():
            metadata.create()
        declare_real(metadata.obj())

    def event(self):
        metadata = Belle2.PyStoreObj("FileMetaData", Belle2.DataStore.c_Persistent)
        declare_real(metadata.obj())


def find_modules(path, name):
    """The modules of that name in a path, and in the paths that its modules lead to."""
    found = []
    for module in path.modules():
        if module.name() == name:
            found.append(module)
        if module.has_condition():
            for condition_path in module.get_all_condition_paths():
                found += find_modules(condition_path, name)
    return found


def describe(output):
    """What a file says of itself: its level, and all in which it deviates from the standard."""
    description = {"dataLevel": output["level"]}
    for override in job.get("overrides", []):
        key = "override " + override["module"] + "." + override["parameter"]
        description[key] = "%s (%s: %s)" % (override["value"], override["ticket"], override["reason"])
    for local in job.get("testing_payloads", []):
        description["testing payloads " + local["name"]] = "%s: %s" % (local["ticket"], local["reason"])
    for branch in job.get("additional_branches", []):
        description["additional branch " + branch["name"]] = "%s: %s" % (branch["ticket"], branch["reason"])
    return description


# The localdb folder and the default tag would be asked before ours; of a chain, the source added last is asked first.
basf2.reset_database()
basf2.use_database_chain()
for tag in reversed(job["global_tags"]):
    basf2.use_central_database(tag)
if "payload_folder" in job:
    # The payloads that the tags had for this run when the job was made; what is written names the tags all the same.
    basf2.use_local_database(job["local_conditions"], job["payload_folder"], readonly=True)
for local in reversed(job.get("testing_payloads", [])):
    basf2.use_local_database(local["database"], readonly=True)

basf2.set_random_seed(job["seed"])

path = basf2.create_path()
# Here real data become real data: what is not declared now counts as simulated ever after.
path.add_module("SeqRootInput", inputFileNames=[item["path"] for item in job["inputs"]])
path.add_module(DeclareRealData())
for output in job["outputs"]:
    path.add_module(
        "RootOutput",
        outputFileName=output["file"],
        additionalDataDescription=describe(output),
        ignoreCommandLineOverride=True,
    )

for override in job.get("overrides", []):
    # basf2.set_module_parameters with `recursive` raises where any path that a module leads to lacks the module.
    modules = find_modules(path, override["module"])
    if not modules:
        basf2.B2FATAL("the path has no module " + override["module"])
    for module in modules:
        module.param(override["parameter"], override["value"])

basf2.process(path)
print(basf2.statistics)
