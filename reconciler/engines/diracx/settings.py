"""What a site's file says of the engine diracx."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.json_schema.values import read_value
from schemas.policy.site import Site


@dataclass(frozen=True, slots=True)
class DiracxSettings:
    """Where DiracX is, and as whom jobs are submitted: one of `token` and `key` is the file of the credential.

    `mounted`: input files have their paths on the worker nodes too; else DIRAC brings them, by logical names.
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
    """The settings of a site that the schema `site/1` accepted: it asks for them where the engine is diracx."""
    return read_value(DiracxSettings, site.engine_settings["diracx"])
