"""Attacks on secrets: what is in the environment of a pipeline or of the reconciler is in nothing that they leave."""

from __future__ import annotations

import os

from ci.cli.exits import Exit
from ci.command_line import run
from tests.support.inputs.keys import make_key
from tests.support.worlds.worlds import World

CANARY = "canary-7f3a9c"
NAMES = (
    "B2PROD_FORGE_TOKEN",
    "BELLE2_CONDB_TOKEN",
    "CI_JOB_TOKEN",
    "SSH_AUTH_SOCK",
    "X509_USER_PROXY",
    "PASSWORD",
)


def test_s32_secrets_are_in_no_artefact(tmp_path, monkeypatch, capfd):
    for name in NAMES:
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    world = World(tmp_path / "checkout")
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: world.templates)
    world.behave("crash", "reco-2")
    world.reconcile()
    key = make_key(tmp_path, "reconciler")
    root = ["--root", str(world.root)]
    assert run([*root, "plan", "-o", str(world.root / "plan.json"), "--format", "markdown"]) == Exit.FINE
    assert (
        run([*root, "state", "export", "-o", str(tmp_path / "state.zip"), "--key", str(key.file)])
        == Exit.FINE
    )
    for verb in (
        ["status"],
        ["runs"],
        ["explain", "proc7"],
        ["check", "--format", "json"],
        ["explain", "proc7/reco/3:2"],
    ):
        run([*root, *verb])
    said = "".join(capfd.readouterr())
    assert len(said) > 1000
    assert CANARY not in said
    files = [
        path
        for folder, _, names in os.walk(tmp_path)
        for name in names
        if (path := os.path.join(folder, name))
    ]
    assert len(files) > 20
    for path in files:
        with open(path, "rb") as stream:
            assert CANARY.encode() not in stream.read(), path
