"""Adoption of a job that an operator names: only one that its engine has, under the attempt's name."""

from __future__ import annotations

from dataclasses import replace

from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.workspace import Workspace
from reconciler.model.engine import EngineUnavailable, Sighting
from reconciler.model.work_items import Attempt
from reconciler.outside.errors import GuardRefused, SourceUnavailable

SEEN = (Sighting.PENDING, Sighting.RUNNING, Sighting.ENDED)


def check_reference(
    site_engines: SiteEngines, attempt: Attempt, workspace: Workspace, reference: str
) -> None:
    """Checks that the engine has an attempt's job under a reference; `workspace` has the attempts' folders.

    Raises:
        GuardRefused: it does not have it, or has it under another name.
        SourceUnavailable: the engine cannot be asked.
    """
    engine = site_engines.engine(attempt.site)
    if (elsewhere := site_engines.tell_elsewhere(attempt)) is not None:
        raise SourceUnavailable(elsewhere)
    handle = replace(workspace.make_handle(attempt), reference=reference)
    try:
        seen = engine.query([handle]).get(handle.name)
        # its id alone proves nothing: everybody can read the name, and give it to a job of their own
        known = engine.find([handle]).get(handle.name, ())
    except EngineUnavailable as error:
        raise SourceUnavailable(f"{attempt.site} cannot be asked for job {reference}: {error}") from error
    if seen is None or seen.sighting not in SEEN:
        said = seen.reason or seen.sighting.value if seen else "nothing"
        raise GuardRefused(f"{attempt.site} has no job {reference} of {attempt.name}; it says: {said}")
    if reference not in known:
        raise GuardRefused(
            f"{attempt.site} has job {reference}, but not as one that was submitted for {attempt.name}"
        )
