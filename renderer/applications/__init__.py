"""The applications by name. A new one needs a module here, an entry in `_ALL`, and one in the schema `campaign/1`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from renderer.applications.basf2 import Basf2Application
from renderer.applications.port import Application
from renderer.applications.script import ScriptApplication
from renderer.applications.uproot import UprootApplication

_ALL = (Basf2Application(), UprootApplication(), ScriptApplication())
APPLICATIONS: Mapping[str, Application] = MappingProxyType({one.name: one for one in _ALL})
