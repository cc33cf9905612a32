"""The application `script`: a file of the repository that a site allows, from the manifest to what is published."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ci.changes.change import Change
from ci.changes.gates import check_scripts
from reconciler.engines.local.engine import RUNTIME
from renderer.applications import APPLICATIONS
from renderer.identity.fingerprint import write_recipes
from schemas.json_schema.validation import check_rendered
from schemas.manifest.step import load_applications
from schemas.policy.roles import Exemption, Role, Roles
from schemas.policy.scopes import RELEASE, describe_scopes
from schemas.repository import read_repository
from tests.support.inputs.runtime_jobs import job
from tests.support.inputs.scripts import CONVERT
from tests.support.worlds.script_world import Converting


@pytest.fixture
def world(tmp_path):
    return Converting(tmp_path, campaign=CONVERT, files=(1, 1))


def test_every_application_is_in_the_schema_and_has_a_module():
    assert list(APPLICATIONS) == list(load_applications())


@pytest.mark.quick
def test_a_script_runs_with_its_words_and_is_published(world):
    world.finish()
    assert [row[:4] for row in world.produced()] == [("proc7", "convert", run, "cdst") for run in (1, 2)]
    called = (world.root / "called-2").read_text().splitlines()
    raw = str(world.root / "raw/raw.2.0.root")
    assert called == ["--experiment", "3", "--run", "2", raw, "cdst.2.0.root", "$HOME; true"]
    assert all(Path(name).name.startswith("cdst.") for name in world.published() if name.endswith(".root"))
    assert world.summary() == {"done": 2}


def recipe_of(world):
    repository = world.repository()
    campaign = repository.campaigns["proc7"].campaign
    return write_recipes(campaign, campaign.steps[0], repository)[0]


def test_the_content_of_a_script_is_in_the_recipe_and_its_name_is_not(world, tmp_path):
    recipe = recipe_of(world)
    content = (world.root / "productions/scripts/convert_raw/1").read_bytes()
    assert recipe.content["script"] == hashlib.sha256(content).hexdigest()
    world.write("productions/scripts/convert_raw/2", content.decode())
    world.change(("convert_raw/1", "convert_raw/2"))
    assert recipe_of(world).digest == recipe.digest
    world.write("productions/scripts/convert_raw/3", content.decode() + "\n")
    world.change(("convert_raw/2", "convert_raw/3"))
    assert recipe_of(world).digest != recipe.digest


@pytest.mark.parametrize(
    "change", [("--run", "--of"), ("threshold: 3", "threshold: 4"), (', "$HOME; true"', "")], ids=str
)
def test_what_a_script_is_called_with_is_in_the_recipe(world, change):
    before = recipe_of(world)
    world.change(change)
    assert recipe_of(world).digest != before.digest


def test_the_lock_pins_the_content_in_the_scope_of_the_release(world):
    declared = world.repository().campaigns["proc7"]
    digest = hashlib.sha256((world.root / "productions/scripts/convert_raw/1").read_bytes()).hexdigest()
    assert declared.lock.scripts == (("convert_raw/1", digest),)
    scopes = describe_scopes(declared.lock, declared.campaign, declared.document.data)
    assert scopes[RELEASE]["scripts"] == {"convert_raw/1": digest}


def test_a_script_that_was_changed_makes_the_lock_stale(world):
    world.write("productions/scripts/convert_raw/1", "#!/bin/sh\nrm -rf /\n")
    from schemas.rules import check_repository

    found = [str(one) for one in check_repository(world.repository())]
    assert any("BP605" in one and "set of scripts" in one for one in found), found


# ── who lets it run ──


ROLES = Roles(
    version=1, expires=None, repository="r", environment="e", mode="signatures",
    administrators=Role("administrator", "", ("a@example.org",)),
    roles=(Role("release", RELEASE, ("a@example.org",)), Role("other", RELEASE, ("b@example.org",))),
    default=("release",),
    exemptions=(
        Exemption("local", "local", "scratch", "for tries"),
        Exemption("local", "local", "area", "of a group", ("other",)),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("storage", "scripts", "needed"),
    [
        ("scratch", False, ()),
        ("scratch", True, ("release",)),
        ("area", False, ("other",)),
        ("area", True, ("other",)),
        ("data", True, ("release",)),
    ],
)
def test_an_exemption_that_lets_nobody_sign_covers_no_script(storage, scripts, needed):
    assert ROLES.require("local", "local", storage, scripts=scripts) == needed


def make_change(before, after):
    return Change("base", "head", {}, before, after, (), frozenset())


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"#!/bin/sh\n", None), (b"#!/bin/sh\n\n", "is another one than before"), (None, "goes")],
    ids=["as it was", "changed", "removed"],
)
def test_a_version_stays_as_it_is(content, told):
    file = "productions/scripts/convert_raw/1"
    trees = {file: b"#!/bin/sh\n"}, {} if content is None else {file: content}
    before, after = (read_repository(tree, {})[0] for tree in trees)
    found = [one.message for one in check_scripts(make_change(*trees), before, after)]
    assert [told in one for one in found] == ([] if told is None else [True])


# ── on the node ──


def run_script(folder, content, arguments=("@job",), approved=None, mode=0o644, **changes):
    (folder / "script").write_bytes(content)
    (folder / "script").chmod(mode)
    digest = hashlib.sha256(approved or content).hexdigest()
    described = job(folder, ["./script"], **changes)
    described["script"] = {"file": "script", "checksum": f"sha256:{digest}", "arguments": list(arguments)}
    check_rendered(described, "job")
    (folder / "job.json").write_text(json.dumps(described))
    subprocess.run(
        [sys.executable, RUNTIME, "b2p-test-1"],
        cwd=folder,
        check=False,
        env=dict(os.environ, B2PROD_NONCE="n"),
    )
    return json.loads((folder / "result.json").read_text())


def test_a_script_is_held_against_what_was_approved_before_it_starts(tmp_path):
    result = run_script(tmp_path, b"#!/bin/sh\ntouch ran\necho x > out.root\n", approved=b"#!/bin/sh\necho\n")
    assert result["failure"]["class"] == "infrastructure"
    assert "not the script that was approved" in result["failure"]["message"]
    assert not (tmp_path / "ran").exists()


def test_a_script_needs_no_mode_of_its_own(tmp_path):
    result = run_script(tmp_path, b"#!/bin/sh\necho x > out.root\n", mode=0o600)
    assert result["failure"] is None
    assert stat.S_IMODE((tmp_path / "script").stat().st_mode) == 0o500


def test_words_are_put_in_place_and_read_by_no_shell(tmp_path):
    content = b'#!/bin/sh\nprintf "%s\\n" "$@" > words\necho x > out.root\n'
    words = [
        "@inputs",
        "@job",
        "@experiment",
        "@run",
        "@output:mdst",
        "@output:dst",
        "@",
        "$(touch ran)",
        "a b",
        "*",
    ]
    result = run_script(tmp_path, content, words)
    assert result["failure"] is None, result
    described = json.loads((tmp_path / "job.json").read_text())
    paths = [one["path"] for one in described["inputs"]]
    expected = [*paths, "job.json", str(described["experiment"]), str(described["run"])]
    outputs = {one["output"]: one["file"] for one in described["outputs"]}
    expected += [outputs.get(level, f"not-wanted-{level}") for level in ("mdst", "dst")]
    assert (tmp_path / "words").read_text().splitlines() == [*expected, "@", "$(touch ran)", "a b", "*"]
    assert not (tmp_path / "ran").exists()
