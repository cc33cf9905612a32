"""The runtime of a bundle: members run one after the other, each in its own folder, and none is the others' business."""

from __future__ import annotations

import ast
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from reconciler.engines.local.engine import RUNTIME
from tests.support.inputs.runtime_jobs import job

MEMBER = RUNTIME.with_name("member.py")
WRITE = "open('out.root', 'w').write('x')"
WAIT = f"import os, time\nopen('running', 'w')\nwhile not os.path.exists('go'): time.sleep(0.02)\n{WRITE}"


class Batch:
    """A batch's folder with a member for each pair of its job's place and the application's code."""

    def __init__(self, folder, *members):
        self.home, self.folders = folder / "batch", []
        self.home.mkdir()
        for file in (RUNTIME, MEMBER):
            shutil.copy(file, self.home)
        rows = []
        for number, (place, code) in enumerate(members):
            attempt = folder / f"a{number}"
            attempt.mkdir()
            (attempt / "job.json").write_text(json.dumps(job(folder, ["@python", "-c", code])))
            self.folders.append(attempt)
            rows.append([str(attempt), attempt.name, f"nonce{number}", place])
        (self.home / "members.json").write_text(json.dumps(rows))

    def start(self, index=0):
        return subprocess.Popen([sys.executable, "-I", self.home / "member.py", str(index)], cwd=self.home)

    def run(self, index=0):
        return self.start(index).wait(60)

    def result(self, number):
        file = self.folders[number] / "result.json"
        return json.loads(file.read_text()) if file.exists() else None

    def wait_for(self, number, name):
        end = time.monotonic() + 60
        while not (self.folders[number] / name).exists():
            assert time.monotonic() < end
            time.sleep(0.01)


def test_it_is_python_3_6_and_needs_nothing_else():
    tree = ast.parse(MEMBER.read_text(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)


def test_a_member_that_fails_leaves_the_others_alone(tmp_path):
    batch = Batch(tmp_path, (0, WRITE), (0, "raise SystemExit(9)"), (0, WRITE), (1, WRITE))
    assert batch.run() == 1
    assert [batch.result(number)["failure"] is None for number in range(3)] == [True, False, True]
    assert [batch.result(number)["nonce"] for number in range(3)] == ["nonce0", "nonce1", "nonce2"]
    assert batch.result(3) is None, "it is of another job"
    assert batch.run(1) == 0
    assert batch.result(3)["failure"] is None


def test_a_member_whose_folder_is_gone_leaves_the_others_alone(tmp_path):
    batch = Batch(tmp_path, (0, WRITE), (0, WRITE))
    shutil.rmtree(batch.folders[0])
    assert batch.run() == 1
    assert batch.result(1)["failure"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_no_member_begins(tmp_path, number):
    batch = Batch(tmp_path, (0, WRITE), (0, WAIT), (0, WRITE))
    process = batch.start()
    batch.wait_for(1, "running")
    process.send_signal(number)
    assert process.wait(60) == 1
    assert batch.result(0)["failure"] is None
    assert batch.result(1)["failure"]["class"] == "transient"
    assert not (batch.folders[2] / "started").exists()


def test_one_member_is_ended_and_the_next_begins(tmp_path):
    batch = Batch(tmp_path, (0, WAIT), (0, WRITE))
    process = batch.start()
    batch.wait_for(0, "running")
    (batch.folders[0] / "end").touch()
    assert process.wait(60) == 1
    assert batch.result(0)["failure"]["class"] == "transient"
    assert batch.result(1)["failure"] is None


def test_b25_a_second_start_runs_only_what_has_not_begun(tmp_path):
    batch = Batch(tmp_path, (0, WRITE), (0, WRITE), (0, WRITE))
    (batch.folders[1] / "started").write_text("superseded")
    assert batch.run() == 1
    before = (batch.folders[0] / "result.json").stat()
    assert batch.result(1) is None
    assert batch.run() == 1
    assert (batch.folders[0] / "result.json").stat() == before
    assert batch.result(1) is None
