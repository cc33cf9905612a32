"""Worlds with schemes: signatures as lines of a file, and comparisons that are kept as somebody made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.datasets.editions import choose_runs
from reconciler.datasets.output_digests import digest_edition
from reconciler.execution.apply import reconcile
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter, keep_comparison
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.launch_permission import Merged
from reconciler.model.sign_offs import SignOffs, VoidSignature, lack_signatures
from reconciler.planning.declared_heads import read_head
from reconciler.planning.views import judge_stages, read_state_view
from schemas.files.canonical import canonical_json, digest
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import parse_runs
from tests.support.worlds.worlds import QUIET, World

SCHEME = """\
schema: scheme/1
title: The second step goes when somebody has looked at the first
stages:
  reco: {make: [proc7/reco]}
  look: {announce: [proc7/reco/mdst], after: [reco], due: "2019-02-15", sign: [coordinator]}
  thin: {make: [proc7/thin], after: [look]}
"""
FILE = "productions/schemes/loop.yaml"


@dataclass(frozen=True)
class Signatures(Merged):
    """Signatures as a file beside the checkout has them: subject and digest of each line."""

    root: Path

    def open_sign_offs(self):
        return self.look

    def look(self, matter):
        file = self.root / "signed"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        there = [value for subject, value in lines if subject == matter.subject]
        if matter.digest in there:
            return SignOffs(signed=dict.fromkeys(matter.roles, ("somebody",)))
        if not there:
            return lack_signatures(matter)
        void = tuple(
            VoidSignature(role, "coordinator@example.org", "other evidence") for role in matter.roles
        )
        return SignOffs(missing=dict.fromkeys(matter.roles, "other evidence"), void=void)


class Gated(World):
    """A world with the scheme, in which `sign` signs a stage as it is now."""

    def __init__(self, root, **options):
        super().__init__(root, **options)
        self.write(FILE, SCHEME)
        self.permits = Signatures(root)

    def turn(self, memory=None):
        options = TurnOptions(self.permits)
        return reconcile(self.state, self.repository(), self.names, QUIET, options, memory=memory)

    def view(self):
        with reading(self.state) as connection:
            signs = self.permits.open_sign_offs()
            return read_state_view(
                connection, self.repository(), self.names, self.state, read_sign_offs=signs
            )

    def stages(self):
        scheme = self.repository().schemes["loop"]
        with reading(self.state) as connection:
            signs = self.permits.open_sign_offs()
            judged = judge_stages(connection, self.repository(), scheme, self.state, signs)
        return {one.stage.name: one for one in judged}

    def sign(self, stage):
        matter = self.stages()[stage].matter
        with (self.root / "signed").open("a") as file:
            file.write(f"{matter.subject} {matter.digest}\n")

    def choose(self, dataset, runs):
        """What counts now of some runs of a dataset, as an edition, and the digest of these outputs."""
        with reading(self.state) as connection:
            name = parse_dataset(parse_dataset(dataset).dataset)
            head = choose_runs(read_head(connection, self.repository(), name, self.state), parse_runs(runs))
            return head, digest_edition(connection, head, head.runs)

    def freeze(self, dataset, runs):
        """Freezes what counts now of some runs of a dataset; returns what a hand-over says of it."""
        edition, made = self.choose(dataset, runs)
        with opened(self.state) as engine:
            frozen = EditionWriter(Writer(engine, None), "shifter@example.org").freeze(
                dataset, edition.content, None
            )
        return {"edition": frozen.name, "digest": frozen.digest, "runs": runs, "outputs": made}

    def started(self, step):
        return [line for line in self.starts if line.split()[0] == step]

    def waiting(self):
        groups = [group for one in self.view().plan.campaigns for group in one.groups]
        return {group.reason: len(group.runs) for group in groups if group.action == "waiting"}


COMPARING = """\
schema: scheme/1
title: The second step goes when the first is as that of another campaign
stages:
  reco: {make: [proc7/reco], complete: 0.5}
  check: {compare: proc7/reco/mdst, against: proc6/reco/mdst, by: strict, after: [reco]}
  thin: {make: [proc7/thin], after: [check]}
"""
STRICT = "schema: validation/1\ntitle: Strict\nchecks: {events: {min_runs: 1}}\n"


class Comparing(Gated):
    def __init__(self, root):
        super().__init__(root)
        other = (root / "productions/campaigns/proc7/campaign.yaml").read_text()
        self.write(
            "productions/campaigns/proc6/campaign.yaml",
            other.replace("trigger_mode: all", "trigger_mode: hlt"),
        )
        self.write(FILE, COMPARING)
        self.write("productions/validations/strict.yaml", STRICT)
        self.pin()
        self.lock()

    def keep(
        self,
        verdict="pass",
        runs="3:1-2",
        stated=None,
        created="2099-01-01T00:00:00Z",
        datasets=("proc7/reco/mdst", "proc6/reco/mdst"),
        **changes,
    ):
        """Keeps a comparison of what counts now; `changes` are those of its first side."""
        stated = stated or {"events": {"min_runs": 1}}
        one, other = (self.choose(dataset, runs) for dataset in datasets)
        sides = [
            {"dataset": dataset, "alone": "", "edition": chosen.digest, "outputs": made}
            for dataset, (chosen, made) in zip(datasets, (one, other), strict=True)
        ]
        told = {
            "compared": {**sides[0], **changes},
            "against": sides[1],
            "runs": runs,
            "validation": {"name": "strict", "digest": digest(stated)},
            "verdict": verdict,
        }
        with opened(self.state) as engine:
            return keep_comparison(
                Writer(engine, None, DatedWriting(created)), canonical_json(told), "shifter@example.org"
            )


class DatedWriting:
    """The clock of a writer whose rows all have the same time."""

    def __init__(self, created):
        self.created = created

    def show(self):
        return self.created
