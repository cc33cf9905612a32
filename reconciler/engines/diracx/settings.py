"""The settings of the engine diracx in a site's file."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.json_schema.values import read_value
from schemas.policy.site import Site


@dataclass(frozen=True, slots=True)
class DiracxSettings:
    """The address of DiracX, and the user who submits jobs. Either `token` or `key` is the file of the credential.

    `mounted`: the worker nodes see input files under the same paths; else DIRAC brings them, by logical names.
    """

    url: str
    vo: str
    group: str
    user: str
    token: str | None = None
    key: str | None = None
    job_type: str = "User"
    mounted: bool = False


def read_settings(site: Site) -> DiracxSettings:
    """The settings of a site that the schema `site/1` accepted: it requires them for the engine diracx."""
    return read_value(DiracxSettings, site.engine_settings["diracx"])
