"""Rules on sites: what is asked of a queue is what the queue gives."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.repository import Repository
from schemas.yaml.scalars import show


def check_queues(repository: Repository) -> Iterator[Finding]:
    """Ensure that a site's queue is among those whose limits it states, and that its jobs fit into it."""
    for name, site in repository.sites.items():
        document = repository.site_documents[name]
        if not site.queues or site.queue is None:
            continue
        limits = site.queues.get(site.queue)
        if limits is None:
            message = f"there is no queue {show(site.queue)} among `queues`"
            hint = f"write one of {', '.join(sorted(site.queues))}, or add its limits"
            yield Finding(document.place(("queue",)), "BP506", message, hint)
            continue
        asked = (
            (("batch", "minutes"), site.batch.minutes, limits.minutes, "minutes"),
            (("batch", "memory"), site.batch.memory, limits.memory, "MB"),
            (("slots",), site.slots, limits.slots, "jobs of one account"),
        )
        for path, wanted, most, unit in asked:
            if wanted is not None and most is not None and wanted > most:
                message = f"the queue {site.queue} gives {most} {unit}, not {wanted}"
                yield Finding(
                    document.place(path), "BP702", message, f"write {most} or less, or choose another queue"
                )
