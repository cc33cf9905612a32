"""What was taken back stays so, in whatever state the campaign was when a turn read the commit that said it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from ci.approvals.evidence import SIGNATURE, name_revocation
from ci.cli.exits import Exit
from schemas.policy.statement import REVOKE
from tests.support.inputs.keys import ORDER

MANIFEST, LOCK = "productions/campaigns/proc7/campaign.yaml", "productions/campaigns/proc7/campaign.lock"


def write(signable, change):
    """The manifest with one change; the campaign as it was comes back with what this returns."""
    before = {file: (signable.root / file).read_text() for file in (MANIFEST, LOCK)}
    change(signable)

    def restore():
        for file, text in before.items():
            signable.write(file, text)

    return restore


def edit(text):
    return lambda signable: signable.write(MANIFEST, f"{(signable.root / MANIFEST).read_text()}{text}\n")


STATES = {
    "stopped": edit("state: stopped"),
    "broken": edit("nonsense: 1"),
    "no YAML": edit("a: ["),
    "never locked": lambda signable: (signable.root / LOCK).unlink(),
    "of a lock that is none": lambda signable: signable.write(LOCK, "{"),
    "gone": lambda signable: (signable.root / MANIFEST).unlink(),
}


def take_back(signable, role):
    """A revocation of the one statement in a role, by who made it; its files."""
    (file,) = signable.root.glob(f"productions/campaigns/proc7/approvals/*/{role}.*.json")
    taken = replace(
        signable.statement(role, action=REVOKE, generation=None), digest=sha256(file.read_bytes()).hexdigest()
    )
    gone = file.with_name(name_revocation(file.name))
    signature = gone.with_name(gone.name + SIGNATURE)
    gone.write_bytes(taken.data())
    signature.write_bytes(signable.circle.key(taken.principal).sign(taken.data()))
    return gone, signature


@pytest.mark.parametrize("state", STATES)
def test_s20_what_was_taken_back_while_a_campaign_could_not_be_launched_launches_nothing_later(
    signable, capsys, state
):
    """Whoever merges may make it so, without a signature, and undo that together with the revocation."""
    signable.sign(*ORDER)
    files = take_back(signable, "release")
    restore = write(signable, STATES[state])
    signable.commit("taken back, of a campaign that is not to be launched")
    signable.call("reconcile", "--once")
    for file in files:
        file.unlink()
    restore()
    signable.commit("as it was approved")
    capsys.readouterr()
    assert signable.launch() == Exit.REFUSED
    assert "it was revoked" in capsys.readouterr().err
    assert signable.starts == []
