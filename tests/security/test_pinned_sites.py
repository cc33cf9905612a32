"""Commands, addresses and writable places come from the pinned root alone, in every phase of a turn."""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import opened
from reconciler.model.run import File, Run
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from tests.support.doubles import gb2_commands
from tests.support.inputs.keys import ORDER
from tests.support.inputs.past_productions import CAMPAIGN, FOLDER, PAST
from tests.support.worlds.builders import LAYOUTS, snapshot
from tests.support.worlds.signable_checkout import SignableCheckout


@pytest.fixture
def launched(tmp_path, circle):
    """A campaign of two jobs that are under way at the grid, and the service that follows `main`."""
    signable = SignableCheckout(tmp_path / "checkout", circle)
    grid = gb2_commands.install(tmp_path / "gb2")
    signable.write(
        "productions/sites/local.yaml",
        f"schema: site/1\ntitle: grid\nengine: gb2\nstorage: data\n"
        f"gb2: {{wrapper: ['{grid.wrapper[0]}'], group: belle_dataprod}}\n",
    )
    signable.write(
        "productions/global-tags/tag_a.iov",
        snapshot("tag_a").replace("# state: PUBLISHED", "# id: 654\n# state: PUBLISHED"),
    )
    signable.write("productions/layouts.yaml", LAYOUTS + PAST)
    signable.write("productions/campaigns/proc7/campaign.yaml", CAMPAIGN)
    with opened(signable.state) as engine:
        import_runs(engine, [Run(3, run, "physics", energy="4S") for run in (1, 2)])
        import_files(
            engine,
            [
                File(
                    3,
                    run,
                    "mdst",
                    f"mdst_{run}.root",
                    f"{FOLDER}/r{run:05d}/all/mdst/sub00/mdst_{run}.root",
                    10,
                    f"adler32:0000000{run}",
                )
                for run in (1, 2)
            ],
        )
    (signable.root / "productions/campaigns/proc7/campaign.lock").unlink()
    signable.lock()
    signable.pin()
    signable.commit("a skim campaign at the grid")
    signable.sign(*ORDER)
    signable.commit("approved")
    service = tmp_path / "service"
    signable.git("clone", "-q", str(signable.root), str(service))

    def follow():
        before = ["--root", str(service), "--state", str(signable.state.folder)]
        return run([*before, "reconcile", "--once", "--follow", "origin/main"])

    assert follow() == Exit.FINE
    return signable, grid, follow


def test_one_merge_that_nobody_signed_runs_no_command_on_the_production_host(launched, tmp_path, capsys):
    signable, grid, follow = launched
    assert [one["state"] for one in grid.read()["productions"].values()]
    canary = tmp_path / "canary"
    site = signable.root / "productions/sites/local.yaml"
    site.write_text(site.read_text().replace(grid.wrapper[0], f"/bin/sh', '-c', 'touch {canary}', 'x"))
    signable.commit("another wrapper")
    asked = len(grid.calls)
    assert follow() == Exit.FINE
    assert not canary.exists()
    assert "under way" in capsys.readouterr().err, "its jobs are followed by the site as it was pinned"
    assert len(grid.calls) > asked
