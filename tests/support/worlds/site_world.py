"""A world whose site has something to show: runs that are made, that failed, and that nobody took; hostile texts everywhere."""

from __future__ import annotations

from pathlib import Path

from reconciler.ledger.store.database import opened
from reconciler.ledger.writing.operator_actions import OperatorActions
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.run import Run
from reconciler.run_catalogue.luminosity import Measurement, import_luminosity
from reconciler.run_catalogue.run_import import import_runs
from renderer.steering import load_templates
from schemas.manifest.runs import run_key
from tests.support.worlds.worlds import ONE_STEP, World

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&amp;"
"""Text that a page must show as it is."""

LINE = "no payload <CDCTimeZeros> is valid for this run"
"""What the log of run 3 says."""

FACTS = (
    Run(3, 1, "physics", 1000, "2019-03-11T00:00:00Z", "2019-03-11T01:00:00Z", "4S", "good", 2),
    Run(3, 2, "physics", 2000, "2019-03-11T02:00:00Z", "2019-03-11T02:30:00Z", "4S", "good", 1),
    Run(3, 3, "physics", 3000, "2019-03-11T03:00:00Z", "2019-03-11T03:45:00Z", "4S_offres", "bad", 1),
    Run(3, 700, "cosmic", None, None, None, None, None, None),
)
"""Of these runs the campaign takes the first three. The last one is in another file of details."""

LUMINOSITY = {1: 1500.0, 2: 750.5}
"""Run → inverse nanobarn, by the method `bhabha` and the version `online`."""


def make_site_world(root: Path) -> World:
    """Runs 1 and 2 are made, run 3 is in quarantine, and a pause of the campaign has a hostile reason."""
    made = World(
        root,
        ('ranges: "1-2"', 'ranges: "1-3"'),
        ("title: A campaign of a test", "title: '" + HOSTILE.replace("'", "''") + "'"),
        ("max_restate: 10", "max_restate: 10, max_attempts: 1"),
        campaign=ONE_STEP,
        files=(2, 1, 1),
    )
    made.templates = load_templates()  # those by which the command line judges locks
    with opened(made.state) as engine:
        import_runs(engine, list(FACTS))
        with engine.begin() as connection:
            values = [Measurement(run_key(3, run), value, 1.0) for run, value in LUMINOSITY.items()]
            import_luminosity(connection, ("bhabha", "online", ""), values)
    made.lock()
    made.behave(f"fatal {LINE}", "reco-3")
    made.reconcile()
    with opened(made.state) as engine:
        OperatorActions(Writer(engine, None), "shifter@example.org").pause("campaign:proc7", HOSTILE)
    return made
