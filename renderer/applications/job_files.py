"""Names of the files in the folder of a job."""

from __future__ import annotations

JOB = "job.json"
STEERING = "steering.py"
SCRIPT = "script"
CONDITIONS = "conditions.sqlite"
"""Names of files in a job's folder."""

LOCAL_CONDITIONS = "conditions.txt"
"""The payloads of the job's run as releases before 04 read them; where the site has their files."""

PYTHON = "@python"
"""Stands for the interpreter that runs the job's runtime: the job JSON is the same on every machine."""
