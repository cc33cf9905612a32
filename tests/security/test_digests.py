"""What is approved is all that is used: whatever of a file is read later on is in a digest that its approvers signed."""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.execution.turn import Launcher
from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.run import File, Run
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from tests.support.doubles import gb2_commands
from tests.support.inputs.keys import ORDER
from tests.support.inputs.past_productions import CAMPAIGN, FOLDER, PAST
from tests.support.worlds.builders import LAYOUTS, snapshot
from tests.support.worlds.signable_checkout import SignableCheckout

GEOMETRY = f"CDCGeometry 1 {'c' * 32} 0,0,-1,-1"
FIRST = f"CDCTimeZeros 1 {'1' * 32} 0,0,-1,-1"
BETTER = f"CDCTimeZeros 2 {'2' * 32} 1,0,-1,-1"


class Service:
    """A signable checkout, and the clone of it whose reconciler follows `main`."""

    def __init__(self, signable: SignableCheckout, folder):
        self.signable, self.folder = signable, folder
        signable.git("clone", "-q", str(signable.root), str(folder))

    def follow(self) -> int:
        before = ["--root", str(self.folder), "--state", str(self.signable.state.folder)]
        return run([*before, "reconcile", "--once", "--follow", "origin/main"])


@pytest.fixture
def grid(tmp_path, circle):
    """A campaign of the grid that four people approved, and nothing of it launched."""
    signable = SignableCheckout(tmp_path / "checkout", circle)
    found = gb2_commands.install(tmp_path / "gb2")
    signable.write(
        "productions/sites/local.yaml",
        f"schema: site/1\ntitle: grid\nengine: gb2\nstorage: data\n"
        f"gb2: {{wrapper: ['{found.wrapper[0]}'], group: belle_dataprod}}\n",
    )
    signable.write(
        "productions/global-tags/tag_a.iov",
        snapshot("tag_a").replace("# state: PUBLISHED", "# id: 654\n# state: PUBLISHED"),
    )
    signable.write("productions/campaigns/proc7/campaign.yaml", CAMPAIGN)
    signable.write("productions/layouts.yaml", LAYOUTS + PAST)
    with opened(signable.state) as engine:
        import_runs(engine, [Run(3, number, "physics", energy="4S") for number in (1, 2)])
        files = (
            File(
                3,
                number,
                "mdst",
                f"m{number}.root",
                f"{FOLDER}/r{number:05d}/all/mdst/sub00/m{number}.root",
                10,
                f"adler32:{number:08d}",
            )
            for number in (1, 2)
        )
        import_files(engine, list(files))
    (signable.root / "productions/campaigns/proc7/campaign.lock").unlink()
    signable.lock()
    signable.pin()
    signable.commit("a skim campaign at the grid")
    signable.sign(*ORDER)
    signable.commit("approved")
    return Service(signable, tmp_path / "service"), found


def swap(signable, file, old, new):
    path = signable.root / "productions" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("global-tags/tag_a.iov", "# id: 654", "# id: 99999", "id of tag_a"),
        ("global-tags/tag_a.iov", "# id: 654\n", "", "id of tag_a"),
        ("global-tags/tag_a.iov", "# state: PUBLISHED", "# state: TESTING", "state of tag_a"),
        ("layouts.yaml", "{tag_id}/{production}", "{production}/{tag_id}", "layouts of the grid's input"),
        ("layouts.yaml", "    historic: true\n", "", "layouts of the grid's input"),
        ("layouts.yaml", "{campaign}/{step}", "{step}/{campaign}", "folder of plain"),
    ],
    ids=["id", "no id", "state", "paths of the input", "none of the input", "paths of the output"],
)
def test_what_one_person_changes_after_approval_is_not_what_the_grid_is_asked_for(
    grid, capsys, file, old, new, told
):
    service, wrapped = grid
    signable = service.signable
    swap(signable, file, old, new)
    signable.commit("after approval, by one person")
    assert signable.call("check") == Exit.FINDINGS
    assert told in capsys.readouterr().out
    assert service.follow() == Exit.FINDINGS
    assert not wrapped.read()["productions"]
    assert signable.call("approvals", "proc7") != Exit.FINE


def test_a_title_that_nobody_approves_is_not_in_what_the_grid_is_asked_for(grid):
    service, wrapped = grid
    swap(service.signable, "campaigns/proc7/campaign.yaml", "title: skims", "title: something else")
    service.signable.commit("another title")
    assert service.follow() == Exit.FINE
    made = wrapped.read()["productions"].values()
    assert made
    assert "something else" not in str([one["request"] for one in made])


@pytest.mark.parametrize("rule", ["forward", "restate"])
def test_one_line_of_a_header_does_not_roll_a_running_tag_back(tmp_path, circle, capsys, rule):
    signable = SignableCheckout(tmp_path / "checkout", circle)
    running = snapshot("tag_a", GEOMETRY, FIRST).replace("PUBLISHED", "RUNNING")
    signable.write("productions/global-tags/tag_a.iov", running)
    swap(signable, "campaigns/proc7/campaign.yaml", "mode: snapshot", f"mode: running, on_change: {rule}")
    signable.lock()
    signable.commit("running tag")
    signable.sign(*ORDER)
    signable.commit("approved")
    service = Service(signable, tmp_path / "service")
    signable.write(
        "database/tag_a.iov", snapshot("tag_a", GEOMETRY, FIRST, BETTER).replace("PUBLISHED", "RUNNING")
    )
    assert signable.call("gt", "follow", "--from", signable.root / "database/tag_a.iov") == Exit.FINE
    swap(signable, "global-tags/tag_a.iov", "# state:", "# retrieved: 9999-12-31T00:00:00Z\n# state:")
    signable.commit("one line of a header, nobody signed")
    capsys.readouterr()
    assert service.follow() == Exit.FINDINGS
    assert "time at which tag_a was read" in capsys.readouterr().err
    assert not signable.starts


def test_units_are_prepared_by_the_sites_of_the_pinned_root_alone(grid):
    """The power of another site's cores is in what a unit is expected to take."""
    service, _ = grid
    signable = service.signable
    pinned = signable.repository().sites
    signable.write(
        "productions/sites/other.yaml",
        "schema: site/1\ntitle: x\nengine: local\nstorage: x\nhs06: 99\n",
    )
    with opened(signable.state) as engine:
        launcher = Launcher(signable.state, signable.repository(), pinned, Writer(engine, None))
    assert launcher._preparation._repository.sites == pinned
