"""A campaign as a commit has it, and what of it is pinned and recorded when it is launched. Pure."""

from __future__ import annotations

from dataclasses import replace

from ci.approvals.verdict import Verdict
from reconciler.ledger.writing.trust import Launch
from reconciler.model.plan import CampaignPlan
from reconciler.model.states import MAKING
from schemas.files.canonical import digest
from schemas.files.tree import Tree
from schemas.json_schema.validation import read_valid
from schemas.manifest.campaign import read_campaign
from schemas.manifest.lock import read_lock
from schemas.repository import Declared


def describe_launch(declared: Declared, verdict: Verdict) -> Launch | None:
    """The launch of an approved campaign, as the ledger records it, or None if it needs no signature or has no approval."""
    lock, demand = declared.lock, verdict.demand
    if lock is None or demand.generation is None or not demand.roles or not verdict.complete:
        return None
    scopes = {name: (value, demand.since.get(name, 0)) for name, value in demand.scopes.items()}
    return Launch(demand.generation, lock.digest(), verdict.digest, scopes)


def read_declared(tree: Tree, file: str) -> Declared | None:
    """A campaign with its lock from the files of a commit, or None if it is missing or broken."""
    document = read_valid(file, tree[file], "campaign") if file in tree else None
    if document is None:
        return None
    declared = Declared(read_campaign(file.split("/")[-2], document), document)
    if declared.lock_file not in tree:
        return declared
    return replace(declared, lock=read_lock(declared.lock_file, tree[declared.lock_file])[0])


def pin_declared(declared: Declared) -> dict[str, str]:
    """The digests of a campaign that a plan pins."""
    lock = "" if declared.lock is None else declared.lock.digest()
    return {"lock": lock, "manifest": digest(declared.document.data)}


def tell_commit(commit: str | None) -> str:
    """A commit in a message; None is the folder itself."""
    return "this folder" if commit is None else f"the commit {commit[:12]}"


def count_making(plan: CampaignPlan) -> int:
    """How many units of a plan are to be made."""
    return plan.count(*MAKING)
