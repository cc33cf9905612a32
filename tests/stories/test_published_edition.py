"""A scheme releases a dataset: the coordinator signs, the edition that was signed is published, and only then what follows goes."""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit
from tests.support.worlds.builders import snapshot, swap
from tests.support.worlds.scheme_world import SchemeWorld, Told
from tests.support.worlds.worlds import ONE_STEP

pytestmark = pytest.mark.slow
NEXT = swap(ONE_STEP, ("tag_a", "tag_b"))
SCHEME = """\
schema: scheme/1
title: The next campaign goes when the first is published
stages:
  reco: {make: [proc7/reco]}
  release: {publish: [proc7/reco/mdst], after: [reco], sign: [coordinator]}
  next: {make: [later/reco], after: [release]}
"""
EDITION = "proc7/reco/mdst:1"


@pytest.fixture
def world(tmp_path, circle):
    (tmp_path / "root").mkdir()
    world = SchemeWorld(tmp_path / "root", circle, files=(1, 1))
    final = tmp_path / "final"
    final.mkdir()
    site = world.root / "productions/sites/local.yaml"
    more = f"publications: {{final: {{kind: folder, folder: {final}}}}}\n"
    world.write("productions/sites/local.yaml", site.read_text() + more)
    world.write(
        "productions/global-tags/tag_b.iov", snapshot("tag_b", "CDCGeometry 1 " + "c" * 32 + " 0,0,-1,-1")
    )
    for name, text in (("proc7", ONE_STEP), ("later", NEXT)):
        world.write(f"productions/campaigns/{name}/campaign.yaml", text)
    world.begin(schemes__loop=SCHEME)
    for name in ("proc7", "later"):
        world.approve(name)
    world.final = final
    return world


def test_what_follows_a_publication_goes_once_the_signed_edition_is_published(world, capsys):
    told = Told(world, capsys)
    assert world.turn() == Exit.FINE
    assert world.b2prod("dataset", "freeze", "proc7/reco/mdst") == Exit.FINE
    assert world.begun("later") == []
    capsys.readouterr()
    assert world.b2prod("publish", EDITION) == Exit.REFUSED
    assert "may not be published yet: gate release: not signed by coordinator" in capsys.readouterr().err
    assert not any(world.final.iterdir())
    for broken in (SCHEME.replace("stages:", "stagse:"), SCHEME.replace("[reco], sign", "[rceo], sign")):
        world.write("productions/schemes/loop.yaml", broken)
        assert world.b2prod("publish", EDITION) == Exit.FINDINGS, "who breaks a scheme opens no gate"
    world.write("productions/schemes/loop.yaml", SCHEME)
    assert not any(world.final.iterdir())
    assert world.sign_gate("loop/release", "coordinator", "validated, BIIDP-1000") == Exit.FINE
    assert world.turn() == Exit.FINE
    assert world.begun("later") == [], "it may be published, and is not"
    release = told.stages("loop")["release"]
    assert (release["state"], release["lacks"]) == ("open", ["proc7/reco/mdst is not published"])
    out, _ = told.read("plan")
    assert f". publish {EDITION}: 2 outputs, 2 files" in out
    assert f"`b2prod publish {EDITION}`" in out
    assert world.b2prod("publish", EDITION) == Exit.FINE
    assert "publish" not in told.read("plan")[0]
    assert (world.final / "proc7/reco/mdst/1/files.txt").exists()
    release = told.stages("loop")["release"]
    assert release["state"] == "passed"
    assert release["evidence"][0].startswith(f"{EDITION} published at ")
    assert world.turn() == Exit.FINE
    assert world.begun("later") == [1, 2]
    assert world.b2prod("withdraw", EDITION, "--reason", "wrong tag") == Exit.FINE
    assert told.stages("loop")["release"]["state"] == "open", "it is published no more"


def test_an_edition_that_is_not_what_was_signed_is_not_published(world, capsys):
    assert world.turn() == Exit.FINE
    assert world.b2prod("dataset", "freeze", "proc7/reco/mdst", "--runs", "3:1") == Exit.FINE
    assert world.sign_gate("loop/release", "coordinator", "validated, BIIDP-1000") == Exit.FINE
    capsys.readouterr()
    assert world.b2prod("publish", EDITION) == Exit.REFUSED
    assert f"{EDITION} has 1 of 2 runs that count now" in capsys.readouterr().err
    assert not any(world.final.iterdir())
