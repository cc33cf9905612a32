"""The verbs of the command line, one module for each part of a campaign's way.

Each is imported when it is called: what all of them need together takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

import rich_click as click

from reconciler.outside.signals import begin


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb is, and its line in the help: the first paragraph of its own."""

    module: str
    line: str


PANELS: Mapping[str, Mapping[str, Verb]] = {
    "What we want": {
        "new": Verb(
            "campaigns.new", "Write a new campaign: the smallest valid manifest, or a copy to change."
        ),
        "import-b2skim": Verb(
            "campaigns.import_b2skim",
            "Take over skim campaigns of b2skim: a skim menu, and a campaign for each of theirs and each stream that is read.",
        ),
        "check": Verb("campaigns.check", "Hold every manifest against schemas and rules; needs no network."),
        "review": Verb(
            "campaigns.review",
            "Tell reviewers what a change sets off: what, how much, what is different, why, who must approve, what is risky.",
        ),
        "post": Verb(
            "campaigns.review",
            "Put a review beside the change: as one comment, which later reviews edit in place.",
        ),
        "diff": Verb(
            "campaigns.diff",
            "What differs between the campaigns A and B, and how much of A the other would take over.",
        ),
        "resolve": Verb(
            "campaigns.resolve",
            "Pin everything that could move (runs, releases, tags, templates, skims) in the campaign's lock.",
        ),
        "render": Verb(
            "campaigns.render",
            "Write the steering scripts and the job JSONs, or the grid's production requests: the same bytes every time.",
        ),
    },
    "Who agrees": {
        "approve": Verb(
            "approvals.approve",
            "Show what is decided, and sign it: one file more in the campaign's folder, to be committed.",
        ),
        "approvals": Verb(
            "approvals.approve",
            "Tell who approved what, what is missing, and the command that mends it; ends with 5 where something is missing.",
        ),
        "trust": Verb(
            "approvals.trust",
            "The trust root: roles, keys, revocations and sites, by which approvals are judged.",
        ),
    },
    "What is done": {
        "plan": Verb(
            "campaigns.plan",
            "Show what is declared and not produced, unit by unit, with reasons. Changes nothing.",
        ),
        "apply": Verb(
            "campaigns.plan",
            "Do exactly what a stored plan says, or refuse: when anything it was made from has moved, it is stale.",
        ),
        "reconcile": Verb(
            "operation.reconcile",
            "Bring what is produced to what is declared: finish what was left, plan, and apply exactly that plan.",
        ),
        "register": Verb(
            "data.register",
            "Make produced outputs known to the catalogue of their site, and read them back.",
        ),
    },
    "Operator actions": {
        "pause": Verb("operation.operator_actions", "Stop at once what would begin; what runs goes on."),
        "resume": Verb(
            "operation.operator_actions",
            "Go on after a pause, be it yours, a breaker's, or that of a canary.",
        ),
        "cancel": Verb(
            "operation.operator_actions", "End the jobs of units; they stay in quarantine until `retry`."
        ),
        "retry": Verb(
            "operation.operator_actions",
            "Let quarantined units be tried again: of a campaign, of a step, or runs of a step as in 3:529-613.",
        ),
        "quarantine": Verb(
            "operation.operator_actions", "Stop units until `retry`; jobs of theirs that run are not ended."
        ),
        "settle": Verb(
            "operation.operator_actions",
            "Decide about a unit of which the engine tells nothing, or that will not be completed.",
        ),
        "unlock": Verb(
            "operation.operator_actions",
            "Take the lease from a reconciler that is dead; FENCE is in the message that refused you.",
        ),
    },
    "What is where, and why": {
        "status": Verb("operation.status", "How far each campaign is, step by step."),
        "verify": Verb(
            "data.verify",
            "Read every published file: size, checksum, events, and what it says of itself.",
        ),
        "retention": Verb(
            "data.retention",
            "Retention rates: events kept over events read, by skim, with intervals by Clopper and Pearson.",
        ),
        "explain": Verb(
            "campaigns.explain",
            "What a finding's code means, where a campaign's values come from, or why a unit is as it is.",
        ),
        "logs": Verb(
            "operation.logs",
            "Show the end of the log of a unit's latest attempt, and the line that tells why it failed.",
        ),
        "runs": Verb(
            "data.runs", "The run catalogue: the runs that exist, and the files registered for them."
        ),
        "files": Verb(
            "data.files", "The files of the run catalogue: what is registered, and what was taken out."
        ),
        "lumi": Verb(
            "data.luminosity",
            "Luminosity by run and method: `b2prod lumi proc7` shows the totals of what a campaign produced.",
        ),
        "gt": Verb(
            "data.payloads",
            "Global tags: their snapshots in productions/global-tags, and what differs between them.",
        ),
        "state": Verb(
            "operation.state",
            "The ledger as a whole: check it, make it again, and publish a copy of what plans are made from.",
        ),
        "migrate": Verb(
            "operation.migrate",
            "Bring the state to this b2prod's version, after a copy of it: all of the way or not at all.",
        ),
        "doctor": Verb(
            "operation.doctor",
            "Look at everything that a site needs, without submitting anything: all sites, or one.",
        ),
    },
}
"""The verbs by name, in the panels of the help."""

VERBS: Mapping[str, Verb] = MappingProxyType(
    {name: verb for panel in PANELS.values() for name, verb in panel.items()}
)


class Verbs(click.RichGroup):
    """The group of all verbs, which knows their lines, and imports the one that is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments begin with, imported."""
        if args and args[0] in VERBS:
            self.add_command(load_verb(args[0]))
        begin()
        return super().resolve_command(ctx, args)


def load_verb(name: str) -> click.Command:
    """The verb of that name."""
    commands: tuple[click.Command, ...] = import_module(f"{__name__}.{VERBS[name].module}").COMMANDS
    return next(command for command in commands if command.name == name)
