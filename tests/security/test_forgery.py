"""Attacks from a batch node: what a job leaves is believed only where it proves to be its own attempt's, file by file."""

from __future__ import annotations

import json
import os

import pytest

from reconciler.execution.tracking.workspace import Workspace
from tests.support.worlds.worlds import ONE_STEP, World


def claim(result, **changes):
    return {**result, "outputs": [{**one, **changes} for one in result["outputs"]]}


def relink(result, folder):
    for one in result["outputs"]:
        os.unlink(folder / one["file"])
        os.symlink("/etc/passwd", folder / one["file"])
    size = os.stat("/etc/passwd").st_size
    return claim(result, size=size)


FORGERIES = {
    "a nonce that was guessed": lambda result, folder: {**result, "nonce": "0" * 32},
    "a checksum of something else": lambda result, folder: claim(result, checksum=f"sha256:{'0' * 64}"),
    "a size of something else": lambda result, folder: claim(result, size=1),
    "a file of the host": lambda result, folder: claim(result, file="/etc/passwd"),
    "a file beside its folder": lambda result, folder: claim(result, file="../evil.root"),
    "a link to a file of the host": relink,
    "an output that was not asked for": lambda result, folder: claim(result, output="raw"),
    "nothing at all": lambda result, folder: {**result, "outputs": []},
    "no object": lambda result, folder: ["evil"],
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_s35_a_forged_report_publishes_nothing(forgery, tmp_path, monkeypatch):
    world = World(tmp_path, campaign=ONE_STEP, files=(1,))
    collect, forged = Workspace.collect, []

    def forge(self, attempt, due):
        folder = self.path(attempt.name)
        file = folder / "result.json"
        if file.exists():
            file.write_text(json.dumps(FORGERIES[forgery](json.loads(file.read_text()), folder)))
            forged.append(attempt.name)
        return collect(self, attempt, due)

    monkeypatch.setattr(Workspace, "collect", forge)
    world.reconcile()
    assert forged
    assert world.produced() == []
    assert world.published() == {}
    monkeypatch.undo()
