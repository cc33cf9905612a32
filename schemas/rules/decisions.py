"""Rules on decisions: open ones, the ticket of a campaign, its running jobs, and the keys with which people sign."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.findings.finding import Finding, Place
from schemas.policy.policy import SIGNERS
from schemas.policy.wire import HARDWARE, read_key
from schemas.repository import Repository
from schemas.rules.deviations import STRICT

TODO = "# TODO: "
"""The beginning of a comment that leaves a decision to a person, as `b2prod new NAME --from OTHER` writes it."""

_TODO = re.compile(r"#+ *TODO\b:? *(.*)")


def check_decisions(repository: Repository) -> Iterator[Finding]:
    """Ensure that no comment of a manifest begins with TODO: a campaign with open decisions is not reviewed."""
    for _, document in repository.list_campaigns():
        for place, comment in document.comments:
            found = _TODO.match(comment)
            if found is not None:
                message = f"to be decided: {found[1].strip() or 'what this is about'}"
                yield Finding(place, "BP706", message, "decide, and remove the comment")


def check_tickets(repository: Repository) -> Iterator[Finding]:
    """Ensure that every live reprocessing has a ticket."""
    for campaign, document in repository.list_campaigns():
        if campaign.kind == STRICT and campaign.is_live and "ticket" not in document.data:
            message = f"a campaign of `kind: {STRICT}` needs `ticket`: where it was agreed"
            hint = "add it, as in `ticket: BIIDP-1000`"
            yield document.report_key(("kind",), "BP708", message, hint)


def check_running_jobs(repository: Repository) -> Iterator[Finding]:
    """Ensure that only a campaign that is stopped says what becomes of its running jobs."""
    for campaign, document in repository.list_campaigns():
        if campaign.is_live and "running_jobs" in document.data:
            message = "`running_jobs` is for campaigns that are stopped, and this one is not"
            yield document.report_key(
                ("running_jobs",), "BP709", message, "remove it, or write `state: stopped`"
            )


def check_touch(repository: Repository) -> Iterator[Finding]:
    """Ensure that all people have keys in hardware if the policy requires touch."""
    policy = repository.policy
    if policy is None or not policy.roles.touch:
        return
    for person, signer in policy.signers.items():
        if read_key(signer.key).type not in HARDWARE:
            message = f"the policy says `touch: required`, and the key of {person} is not one in hardware"
            hint = "enter the key that `ssh-keygen -t ed25519-sk` makes, or take `touch` out of roles.yaml"
            yield Finding(Place(SIGNERS), "BP805", message, hint)
