"""What a site's file says of the engine gb2: here, since its production requests are rendered here."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.json_schema.values import read_value
from schemas.policy.site import Site

RESOURCE_TAG = "EL9"
"""The operating system that basf2's `skim/tools/b2skim-prod` asks for, needed from light-2503-ceres on."""


@dataclass(frozen=True, slots=True)
class Gb2Settings:
    """How gbasf2's commands are called: `wrapper` sets their environment. The proxy must have the group `group`.

    `resource_tag` goes into requests. With `by_run` the outputs of a production are kept apart by run, and one production
    may be for many runs; else outputs are merged, and a production is for a single run.
    """

    wrapper: tuple[str, ...] = ()
    group: str | None = None
    resource_tag: str = RESOURCE_TAG
    by_run: bool = False


def read_gb2_settings(site: Site) -> Gb2Settings:
    """The settings of a site; the defaults where its file has none."""
    return read_value(Gb2Settings, site.engine_settings.get("gb2", {}))
