"""publish and withdraw as commands: refused where they must be, ended at any point and gone on from, told by what shows datasets."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.verbs.publications import publishing
from reconciler.datasets.operations.stored import list_published
from reconciler.datasets.publishing.standing import read_standings
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State, reading
from reconciler.model.states import OutputState
from tests.support.worlds.builders import SITE
from tests.support.worlds.crash_points import BEYOND, crash
from tests.support.worlds.skimmed import RUNS, Skimmed
from tests.support.worlds.worlds import pin_checkout

pytestmark = pytest.mark.slow
DATASET = "seven/skims/many"
EDITION = f"{DATASET}:1"


class Publishing(Skimmed):
    """A checkout with an edition, and a site that publishes in a folder and as a list."""

    def __init__(self, root):
        self.final, self.lists = root / "final", root / "lists"
        (root / "world").mkdir()
        for folder in (self.final, self.lists):
            folder.mkdir()
        self.places = f"  final: {{kind: folder, folder: {self.final}}}\n  lists: {{kind: list, folder: {self.lists}}}\n"
        super().__init__(root / "world", f"{SITE}publications:\n{self.places}")
        assert self.b2prod("dataset", "freeze", DATASET) == Exit.FINE
        shutil.rmtree(root / "world/kept")
        shutil.copytree(self.state, root / "world/kept")

    def reset(self):
        self.restore()
        for folder in (self.final, self.lists):
            shutil.rmtree(folder / "seven", ignore_errors=True)

    def look(self):
        """What readers find in both places: None, `withdrawn`, or `whole`; a part of it is an error."""
        return tuple(self.read(folder) for folder in (self.final, self.lists))

    def read(self, top):
        folder = top / DATASET / "1"
        if os.path.lexists(top / DATASET / "current"):
            assert os.readlink(top / DATASET / "current") == "1"
            assert (folder / "edition.json").exists()
        if not folder.exists():
            return None
        if os.listdir(folder) == ["WITHDRAWN.txt"]:
            return "withdrawn"
        content = (folder / "edition.json").read_bytes()
        listed = (folder / "files.txt").read_text().splitlines()
        sums = {file["checksum"] for run in json.loads(content)["runs"].values() for file in run["files"]}
        assert {f"sha256:{hashlib.sha256(Path(one).read_bytes()).hexdigest()}" for one in listed} == sums
        assert len(listed) == RUNS
        return "whole"

    @property
    def standing(self):
        with reading(State(self.state)) as connection:
            return read_standings(connection).get(EDITION)


@pytest.fixture
def world(tmp_path):
    return Publishing(tmp_path)


def test_an_edition_is_published_once_shown_and_withdrawn_with_the_reason(world, capsys):
    assert world.b2prod("publish", EDITION) == Exit.FINE
    assert world.look() == ("whole", "whole")
    assert world.b2prod("publish", EDITION) == Exit.FINE
    told = capsys.readouterr()
    assert told.err.count(f"{EDITION} is published already at") == 2
    assert world.b2prod("dataset", "list", "--json") == Exit.FINE
    listed = json.loads(capsys.readouterr().out)
    assert [one["published"] for one in listed if one["name"] == DATASET] == [[1]]
    assert world.b2prod("dataset", "show", EDITION) == Exit.FINE
    assert ":1  final  since " in capsys.readouterr().out
    assert world.b2prod("withdraw", EDITION, "--reason", "made with the wrong tag") == Exit.FINE
    assert world.look() == ("withdrawn", "withdrawn")
    note = (world.final / DATASET / "1/WITHDRAWN.txt").read_text()
    assert "made with the wrong tag" in note
    assert "There is no other edition to use instead" in note
    capsys.readouterr()
    assert world.b2prod("dataset", "show", DATASET) == Exit.FINE
    assert ": made with the wrong tag" in capsys.readouterr().out
    assert world.b2prod("publish", EDITION) == Exit.USAGE
    assert "made with the wrong tag. Say with --reason" in capsys.readouterr().err
    assert world.b2prod("publish", EDITION, "--to", "final", "--reason", "it was right") == Exit.FINE
    assert world.look() == ("whole", "withdrawn")


@pytest.mark.parametrize("verb", ["publish", "withdraw"])
def test_whenever_the_command_is_ended_the_same_one_ends_what_it_began(world, verb):
    arguments = ("publish", EDITION) if verb == "publish" else ("withdraw", EDITION, "--reason", "wrong")
    after = ("whole", "whole") if verb == "publish" else ("withdrawn", "withdrawn")
    crashed = points = 0
    for at in range(1, BEYOND, 3):
        world.reset()
        if verb == "withdraw":
            assert world.b2prod("publish", EDITION) == Exit.FINE
        crashed = crash(lambda: world.b2prod(*arguments), at)
        seen = world.look()
        assert {*seen} <= ({None, "whole"} if verb == "publish" else {"whole", None, "withdrawn"}), at
        if verb == "publish" and world.standing is not None and world.standing.is_published:
            done = [one.place for one in world.standing.publications if one.since is not None]
            assert all(
                dict(zip(("final", "lists"), seen, strict=True))[place] == "whole" for place in done
            ), at
        assert world.b2prod(*arguments) == Exit.FINE, at
        assert world.look() == after, at
        assert world.standing.is_published == (verb == "publish"), at
        if not crashed:
            break
        points += 1
    assert points > 5


def test_a_publication_that_has_begun_can_be_withdrawn(world, capsys):
    for at in (25, 30, 35):
        world.reset()
        crash(lambda: world.b2prod("publish", EDITION), at)
        if at == 25:
            capsys.readouterr()
            assert world.b2prod("plan") == Exit.FINE
            assert f"it has begun and not ended: `b2prod publish {EDITION}`" in capsys.readouterr().out
        assert world.b2prod("withdraw", EDITION, "--reason", "never mind") == Exit.FINE
        assert "whole" not in world.look()
        assert not world.standing.is_published
        capsys.readouterr()


def test_what_is_refused_says_what_to_do(world, capsys):
    for arguments, code, said in (
        (("publish", DATASET), Exit.USAGE, "`b2prod dataset freeze seven/skims/many` makes one"),
        (("publish", f"{DATASET}:2"), Exit.USAGE, "there is no edition"),
        (("publish", EDITION, "--to", "fnal"), Exit.USAGE, "final"),
        (("publish", "eight/skims/many:1"), Exit.USAGE, "eight"),
        (("withdraw", EDITION, "--reason", "x"), Exit.REFUSED, "is not published"),
        (("withdraw", EDITION, "--reason", " "), Exit.USAGE, "readers are told the reason"),
    ):
        assert world.b2prod(*arguments) == code, arguments
        assert said in capsys.readouterr().err, arguments
    assert world.look() == (None, None)
    world.files[0].unlink()
    assert world.b2prod("publish", EDITION) == Exit.REFUSED
    assert "is gone" in capsys.readouterr().err
    assert world.read(world.final) is None


def test_a_place_that_is_away_does_not_keep_the_other_from_readers(world, capsys):
    world.final.rename(world.final.with_name("away"))
    assert world.b2prod("publish", EDITION) == Exit.UNAVAILABLE
    assert "is not published everywhere yet: final: the storage" in capsys.readouterr().err
    assert world.read(world.lists) == "whole"
    world.b2prod("doctor", "--json")
    looked = {one["looked_at"]: one for one in json.loads(capsys.readouterr().out)}
    assert "is not there, and nothing can be published in it" in looked["publication final"]["what"]
    assert looked["publication lists"]["state"] == "fine"
    world.final.with_name("away").rename(world.final)
    assert world.b2prod("publish", EDITION) == Exit.FINE
    assert world.look() == ("whole", "whole")


def test_outputs_that_are_put_into_the_trash_in_between_are_not_published(world, capsys, monkeypatch):
    """The trash looks at publications that were begun before; a publication looks at outputs after it was begun."""
    publish_edition = publishing.publish_edition

    def trash_first(writer, *rest):
        with writer._engine.begin() as connection:
            connection.execute(outputs.update().values(state=OutputState.TRASHED))
        return publish_edition(writer, *rest)

    monkeypatch.setattr(publishing, "publish_edition", trash_first)
    assert world.b2prod("publish", EDITION) == Exit.REFUSED
    assert "3 outputs of seven/skims/many:1 were taken away" in capsys.readouterr().err
    assert world.look() == (None, None)
    with reading(State(world.state)) as connection:
        assert [one.subject for one in list_published(connection)] == [EDITION], "who deletes is told of it"


def test_places_come_from_the_pinned_root_alone(world, capsys, tmp_path):
    """A commit that names another folder publishes nothing there, as long as nobody pinned it."""
    (tmp_path / "other").mkdir()
    changed = world.places.replace(str(world.final), str(tmp_path / "other"))
    world.write("productions/sites/local.yaml", f"{SITE}publications:\n{changed}")
    assert world.b2prod("publish", EDITION) == Exit.FINE
    assert "it is used as pinned" in capsys.readouterr().err
    assert os.listdir(tmp_path / "other") == []
    assert world.look() == ("whole", "whole")
    world.write("productions/sites/local.yaml", SITE)
    pin_checkout(world.root, State(world.state))
    assert world.b2prod("withdraw", EDITION, "--reason", "x") == Exit.REFUSED
    assert "put it back, so that it can be withdrawn there" in capsys.readouterr().err
    assert world.b2prod("publish", EDITION) == Exit.REFUSED
    assert "declares no `publications`" in capsys.readouterr().err
