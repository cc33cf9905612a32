"""A job of basf2, releases 02 and 03. Names, tags, seed and deviations come from the job's JSON file."""

import json
import sys

import basf2
from ROOT import Belle2

with open(sys.argv[1]) as stream:
    job = json.load(stream)


class HasLine(basf2.Module):
    """Says of each event whether a result of the HLT with this line is stored with it.

    TriggerSkim takes that for granted: without a result it ends the job, of a line that is missing it makes anything.
    """

    def __init__(self, line):
        super().__init__()
        self.line = line

    def event(self):
        result = Belle2.PyStoreObj("SoftwareTriggerResult")
        self.return_value(int(result.isValid() and result.obj().getResults().count(self.line) > 0))


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
path.add_module(
    "RootInput",
    inputFileNames=[item["path"] for item in job["inputs"]],
    ignoreCommandLineOverride=True,
)

for output in job["outputs"]:
    line = job["skims"][output["skim"]]["line"]
    selected = basf2.create_path()
    selected.add_module(
        "RootOutput",
        outputFileName=output["file"],
        additionalDataDescription=describe(output),
        ignoreCommandLineOverride=True,
    )
    decided = basf2.create_path()
    decision = decided.add_module("TriggerSkim", triggerLines=[line], expectedResult=1)
    decision.if_value("== 1", selected, basf2.AfterConditionPath.CONTINUE)
    stored = path.add_module(HasLine(line))
    stored.if_value("== 1", decided, basf2.AfterConditionPath.CONTINUE)

for override in job.get("overrides", []):
    # basf2.set_module_parameters with `recursive` raises where any path that a module leads to lacks the module.
    modules = find_modules(path, override["module"])
    if not modules:
        basf2.B2FATAL("the path has no module " + override["module"])
    for module in modules:
        module.param(override["parameter"], override["value"])

basf2.process(path)
print(basf2.statistics)
