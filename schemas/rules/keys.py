"""Keys: what the policy asks of them. A root that is pinned stays readable whatever is found here, and lets nobody sign."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding, Place
from schemas.policy.policy import SIGNERS
from schemas.policy.wire import HARDWARE, read_key
from schemas.repository import Repository


def check_touch(repository: Repository) -> Iterator[Finding]:
    """Ensure that where the policy asks for keys that are touched, people have such keys."""
    policy = repository.policy
    if policy is None or not policy.roles.touch:
        return
    for person, signer in policy.signers.items():
        if read_key(signer.key).type not in HARDWARE:
            message = f"the policy says `touch: required`, and the key of {person} is not one in hardware"
            hint = "enter the key that `ssh-keygen -t ed25519-sk` makes, or take `touch` out of roles.yaml"
            yield Finding(Place(SIGNERS), "BP805", message, hint)
