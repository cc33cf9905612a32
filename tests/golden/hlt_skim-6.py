"""A job of basf2, release 04 and later. Names, tags, seed and deviations come from the job's JSON file."""

import json
import sys

import basf2
from ROOT import Belle2

with open(sys.argv[1]) as stream:
    job = json.load(stream)


class Decision(basf2.Module):
    """Says of each event whether a line of the HLT accepted it, after its prescale or before; without a result it did not.

    TriggerSkim knows the decision after the prescale alone.
    """

    def __init__(self, line, before_prescale):
        super().__init__()
        self.line, self.before_prescale = line, before_prescale

    def event(self):
        stored = Belle2.PyStoreObj("SoftwareTriggerResult")
        if not stored.isValid():
            self.return_value(0)
            return
        found = stored.obj()
        results = found.getNonPrescaledResults() if self.before_prescale else found.getResults()
        self.return_value(int(results.count(self.line) > 0 and results[self.line] == 1))


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
for output in job["outputs"]:
    skim = job["skims"][output["skim"]]
    selected = basf2.create_path()
    selected.add_module(
        "RootOutput",
        outputFileName=output["file"],
        additionalDataDescription=describe(output),
        ignoreCommandLineOverride=True,
    )
    decision = path.add_module(Decision(skim["line"], skim["decision"] == "before_prescale"))
    decision.if_value("== 1", selected, basf2.AfterConditionPath.CONTINUE)

for override in job.get("overrides", []):
    # basf2.set_module_parameters with `recursive` raises where any path that a module leads to lacks the module.
    modules = find_modules(path, override["module"])
    if not modules:
        basf2.B2FATAL("the path has no module " + override["module"])
    for module in modules:
        module.param(override["parameter"], override["value"])

basf2.process(path)
print(basf2.statistics)
