"""Sites: where jobs go."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.document import Document


@dataclass(frozen=True, slots=True)
class Site:
    """A place where jobs run. `storage` is absolute, or relative to the state folder. `slots` None: all processors.

    `testing_payloads` is the folder that has, by name, local databases with their payload files; `runs_per_request` the
    width of a production request of the grid, in run numbers.
    """

    name: str
    engine: str
    storage: str
    slots: int | None = None
    environment: tuple[str, ...] = ()
    basf2_launcher: tuple[str, ...] | None = None
    testing_payloads: str | None = None
    runs_per_request: int | None = None


def read_site(name: str, document: Document) -> Site:
    """The site that `document`, accepted by the schema `site/1`, describes."""
    data = document.data
    launcher = data.get("launchers", {}).get("basf2")
    return Site(
        name=name,
        engine=data["engine"],
        storage=data["storage"],
        slots=data.get("slots"),
        environment=tuple(data.get("environment", ())),
        basf2_launcher=tuple(launcher) if launcher else None,
        testing_payloads=data.get("testing_payloads"),
        runs_per_request=data.get("runs_per_request"),
    )
