"""What the gates of a scheme of twenty stages add to a plan: evidence of each stage, and the units that are held back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from ci.cli.tables import make_table
from reconciler.datasets.output_digests import digest_rows, read_rows
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.editions import keep_comparison
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.sign_offs import SignOffMatter, SignOffs
from reconciler.planning.views import draft_state_view, hold_state_view
from schemas.files.canonical import canonical_json, digest
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_runs
from schemas.manifest.scheme import Scheme, read_scheme
from schemas.policy.validation import read_validation
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
            plain, gates = measure_campaigns(Path(folder), count)
            table.add_row(f"{STAGES} × {count:,}", label, "-", f"{plain:.2f}", f"{gates:.2f}")
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


def measure_campaigns(folder: Path, count: int) -> tuple[float, float]:
    """CPU seconds of a plan of one campaign before gates, and of the gates of a scheme of twenty campaigns that are as it.

    Each has a stage that makes its first step, one that compares and one that people sign; all pass but what is to be made.
    """
    state, repository = State(folder), load(folder, count, chained=True)
    first, second = repository.campaigns[NAME].campaign.steps
    sides = [f"{NAME}/{step.name}/{step.outputs[0]}" for step in (first, second)]
    names = [f"{NAME}{number}" for number in range(STAGES)]
    lines = [f"  s0: {{announce: [{sides[0]}], sign: [coordinator]}}"]
    for number, name in enumerate(names):
        lines += [
            f"  m{number}: {{make: [{name}/{first.name}], after: [s{number}], sign: [coordinator]}}",
            f"  v{number}: {{compare: {sides[0]}, against: {sides[1]}, by: plain, after: [m{number}]}}",
            f"  s{number + 1}: {{announce: [{sides[0]}], after: [v{number}], sign: [coordinator]}}",
        ]
    scheme = read_lines(lines)
    declared = repository.campaigns[NAME]
    campaigns = {name: replace(declared, campaign=replace(declared.campaign, name=name)) for name in names}
    stated = {"events": {"min_runs": 1}}
    document, _ = read_yaml(
        "productions/validations/plain.yaml",
        b"schema: validation/1\ntitle: Plain\nchecks: {events: {min_runs: 1}}\n",
    )
    assert document is not None
    validation, _ = read_validation("plain", document)
    with opened(state) as engine:
        with reading(state) as connection:
            heads = [dict(read_rows(connection, side, belongs_to(parse_dataset(side)))) for side in sides]
        runs = sorted(heads[0].keys() & heads[1].keys())
        compared, against = (
            {"dataset": side, "alone": "", "edition": "a" * 64, "outputs": digest_rows(side, rows, runs)}
            for side, rows in zip(sides, heads, strict=True)
        )
        told = {
            "compared": compared,
            "against": against,
            "runs": format_runs(runs),
            "validation": {"name": "plain", "digest": digest(stated)},
            "verdict": "pass",
        }
        keep_comparison(Writer(engine, None), canonical_json(told), "bench")
    repository = replace(
        repository, campaigns={**repository.campaigns, **campaigns}, schemes={"many": scheme}
    )
    with reading(state) as connection:
        begun = time.process_time()
        drafts = draft_state_view(connection, repository, [NAME], state)
        planned = time.process_time()
        (view,) = drafts.views
        views = [
            replace(
                view,
                campaign=campaigns[name].campaign,
                plan=replace(view.plan, campaign=name),
            )
            for name in names
        ]
        plan = replace(drafts.plan, campaigns=tuple(one.plan for one in views))
        known = {NAME: view, **{one.campaign.name: one for one in views}}
        drafts = replace(drafts, views=tuple(views), plan=plan, drafts=known)
        start = time.process_time()
        hold_state_view(connection, repository, state, drafts, sign_all, {"plain": validation}.get)
        return planned - begun, time.process_time() - start


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
    return read_lines(lines, bucketed)


def read_lines(stages: Sequence[str], buckets: Sequence[str] = ()) -> Scheme:
    """The scheme with these lines."""
    text = "\n".join(("schema: scheme/1", "title: Many", *buckets, "stages:", *stages)) + "\n"
    document, findings = read_yaml("productions/schemes/many.yaml", text.encode())
    assert document is not None, findings
    scheme, findings = read_scheme("many", document)
    assert scheme is not None, findings
    return scheme


def sign_all(matter: SignOffMatter) -> SignOffs:
    """Everybody has signed."""
    return SignOffs(signed=dict.fromkeys(matter.roles, ("somebody",)))
