"""Runs a steering script on the grid, where no job JSON is written for each job.

The production system hands over the input files as basf2's own, and the sandbox has steering.py and job.json, which is
the same for all jobs of a request. Here the job's inputs are filled in, and a seed of its own is derived from them. Where
job.json names a conditions metadata file, basf2 finds payloads by that file alone; their contents it downloads as usual.
Needs nothing but basf2 and Python 3.6 or newer.
"""

import hashlib
import json
import os
import runpy
import sys

import basf2
from ROOT import Belle2

with open("job.json", encoding="utf-8") as stream:
    job = json.load(stream)

if "conditions" in job:
    # the payloads that its fingerprint was computed from, whatever the tags have when it runs
    basf2.conditions.metadata_providers = [os.path.abspath(job["conditions"])]

paths = [str(path) for path in Belle2.Environment.Instance().getInputFilesOverride()]
if not paths:
    sys.exit("no input files were handed over")
names = sorted(os.path.basename(path) for path in paths)
job["inputs"] = [{"path": path} for path in paths]
job["seed"] = hashlib.sha256("\n".join([job["seed"], *names]).encode()).hexdigest()[:32]
with open("job-here.json", "w", encoding="utf-8") as stream:
    json.dump(job, stream, sort_keys=True)

sys.argv = ["steering.py", "job-here.json"]
runpy.run_path("steering.py", run_name="__main__")
