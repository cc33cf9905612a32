"""What the gates of a scheme of twenty stages add to a plan: evidence of each stage, and the units that are held back."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from ci.cli.tables import make_table
from reconciler.ledger.store.database import State, reading
from reconciler.model.sign_offs import SignOffMatter, SignOffs
from reconciler.planning.views import draft_state_view, hold_state_view
from schemas.manifest.scheme import Scheme, read_scheme
from schemas.repository import Repository
from schemas.yaml.document import read_yaml
from tests.bench.world import NAME, load, prepare

STAGES = 20
BUCKETS = 5


def measure_schemes(count: int = 100_000) -> Table:
    """CPU time of the gates of a scheme, beside that of the plan before gates."""
    columns = ("plan / s", "gates / s")
    table = make_table(
        "runs", "to do", "buckets", *columns, title=f"Gates of a scheme of {STAGES} stages", numbers=columns
    )
    for label, share in (("nothing", 0.0), ("a tenth", 0.1), ("all", 1.0)):
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), count, share, chained=True)
            for buckets in (0, BUCKETS):
                plain, gates = measure_gates(Path(folder), count, buckets)
                table.add_row(f"{count:,}", label, f"{buckets or '-'}", f"{plain:.2f}", f"{gates:.2f}")
    return table


def measure_gates(folder: Path, count: int, buckets: int) -> tuple[float, float]:
    """CPU seconds of a plan before gates, and of its gates."""
    state, repository = State(folder), load(folder, count, chained=True)
    repository = replace(repository, schemes={"many": declare_scheme(repository, count, buckets)})
    with reading(state) as connection:
        begun = time.process_time()
        drafts = draft_state_view(connection, repository, [NAME], state)
        planned = time.process_time()
        hold_state_view(connection, repository, state, drafts, sign_all)
        return planned - begun, time.process_time() - planned


def declare_scheme(repository: Repository, count: int, buckets: int) -> Scheme:
    """Twenty stages, one after the other: the first and the last make the steps of the campaign, and people sign all of them."""
    first, second = (step.name for step in repository.campaigns[NAME].campaign.steps)
    lines = [f"  s0: {{make: [{NAME}/{first}], sign: [coordinator]}}"]
    for number in range(1, STAGES - 1):
        lines.append(
            f"  s{number}: {{announce: [{NAME}/{first}], after: [s{number - 1}], sign: [coordinator]}}"
        )
    lines.append(f"  last: {{make: [{NAME}/{second}], after: [s{STAGES - 2}], sign: [coordinator]}}")
    parts = []
    for number in range(buckets):
        ends = (number * count // buckets + 1, (number + 1) * count // buckets)
        parts.append(f'  b{number}: {{experiment: 12, ranges: "{ends[0]}-{ends[1]}"}}')
    bucketed = ["buckets:", *parts] if parts else []
    text = "\n".join(("schema: scheme/1", "title: Many", *bucketed, "stages:", *lines)) + "\n"
    document, findings = read_yaml("productions/schemes/many.yaml", text.encode())
    assert document is not None, findings
    scheme, findings = read_scheme("many", document)
    assert scheme is not None, findings
    return scheme


def sign_all(matter: SignOffMatter) -> SignOffs:
    """Everybody has signed."""
    return SignOffs(signed=dict.fromkeys(matter.roles, ("somebody",)))
