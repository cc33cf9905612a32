"""Engines by kind, each in a folder. CONTRIBUTING.md tells what a new one needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from reconciler.engines.diracx.engine import DiracxEngine
from reconciler.engines.gb2.engine import Gb2Engine
from reconciler.engines.gb2.unit_requests import files_for
from reconciler.engines.htcondor.engine import HtcondorEngine
from reconciler.engines.local.engine import LocalEngine
from reconciler.engines.lsf.engine import LsfEngine
from reconciler.engines.slurm.engine import SlurmEngine
from reconciler.model.engine import Engine
from reconciler.model.work_items import WorkItem
from schemas.policy.site import Site
from schemas.repository import Repository

ENGINES: Mapping[str, Callable[[Site, float], Engine]] = {
    "local": lambda site, _: LocalEngine(site),  # it makes no calls that need a time limit
    "diracx": DiracxEngine,
    "gb2": Gb2Engine,
    "htcondor": HtcondorEngine,
    "lsf": LsfEngine,
    "slurm": SlurmEngine,
}
"""Kind → the function that makes an engine, from its site and the seconds that one of its calls may take."""

FilesFor = Callable[[Connection, WorkItem, Repository, Mapping[str, bytes]], Mapping[str, bytes]]

FILES_FOR: Mapping[str, FilesFor] = {"gb2": files_for}
"""Kind → the function that gives the additional files that an engine needs in an attempt's folder, by name."""
