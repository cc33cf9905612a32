"""The demo keeps its promise: from a manifest to retention rates, and an empty plan at the end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_runs_to_an_empty_plan_and_pages(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "ci.demo"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The plan is empty.") == 1
    assert "cut changed: nTracksLE >= 3" in done.stdout
    _, changed = done.stdout.split("~ restate")
    assert changed.splitlines()[1].split() == ["skims:", "hlt_hadron"]
    (page,) = tmp_path.glob("*/index.html")
    assert f"\n  {page}\n" in done.stdout
    assert "24 done" in page.read_text()
    assert "\x1b" not in done.stdout
