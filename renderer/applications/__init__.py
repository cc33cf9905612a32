"""The applications by name. A further one is a module here, a line below, and an entry in the schema `campaign/1`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from renderer.applications.basf2 import Basf2
from renderer.applications.port import Application
from renderer.applications.script import Script
from renderer.applications.uproot import Uproot

APPLICATIONS: Mapping[str, Application] = MappingProxyType(
    {application.name: application for application in (Basf2(), Uproot(), Script())}
)
