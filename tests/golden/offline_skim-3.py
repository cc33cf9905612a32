"""A job of basf2, release 04 and later. Names, tags, seed and deviations come from the job's JSON file."""

import json
import sys

import basf2
from skim.core import CombinedSkim
from skim.registry import Registry

with open(sys.argv[1]) as stream:
    job = json.load(stream)


def check_code(wanted):
    """What was declared is what this release has: other content has another code."""
    if Registry.encode_skim_name(wanted["name"]) != wanted["code"]:
        basf2.B2FATAL("this release has another code than " + wanted["code"] + " for " + wanted["name"])


def load_skim(wanted, **options):
    """A skim of this release's registry, without content of simulations."""
    check_code(wanted)
    skim = Registry.get_skim_function(wanted["name"])(**options)
    skim.mc = False
    return skim


# Skims put these before all other tags, where the campaign has them too.
handed = {role + "Globaltag": tag for role, tag in job.get("skim_tags", {}).items()}


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
skims = [
    load_skim(
        job["skims"][output["skim"]],
        OutputFileName=output["file"],
        additionalDataDescription=describe(output),
    )
    for output in job["outputs"]
]
combined = CombinedSkim(*skims, **handed)
combined(path)

for override in job.get("overrides", []):
    # basf2.set_module_parameters with `recursive` raises where any path that a module leads to lacks the module.
    modules = find_modules(path, override["module"])
    if not modules:
        basf2.B2FATAL("the path has no module " + override["module"])
    for module in modules:
        module.param(override["parameter"], override["value"])

basf2.process(path)
print(basf2.statistics)
