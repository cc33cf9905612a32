"""The jobs of stopped campaigns: cancelled, where a manifest says so; otherwise they run to their end."""

from __future__ import annotations

from reconciler.ledger.writing.attempts import AttemptLedger
from schemas.repository import Repository

REASON = "its campaign is stopped, and says `running_jobs: cancel`"


def end_stopped_jobs(repository: Repository, attempts: AttemptLedger) -> None:
    """Asks for the end of the live jobs of campaigns that are stopped and say `running_jobs: cancel`.

    The next poll tells the engines. Nothing is put into quarantine: the manifest alone keeps the units from beginning, and a
    campaign that is active again makes what is missing. A job that ends well before its engine ends it counts.
    """
    ending = {name for name, declared in repository.campaigns.items() if declared.campaign.ends_jobs}
    if ending:
        live = attempts.list_live()
        attempts.ask_end([one.id for one in live if one.campaign in ending and not one.cancel], REASON)
