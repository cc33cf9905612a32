"""The demo keeps its promise: from a manifest to retention rates, and an empty plan at the end."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_runs_to_an_empty_plan():
    done = subprocess.run([sys.executable, "-m", "ci.demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The plan is empty.") == 1
    assert "cut changed: nTracksLE >= 3" in done.stdout
    _, changed = done.stdout.split("~ restate")
    assert changed.splitlines()[1].split() == ["skims:", "hlt_hadron"]
    assert "\x1b" not in done.stdout
