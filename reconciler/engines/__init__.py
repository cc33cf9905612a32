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
    "local": lambda site, _: LocalEngine(site),  # it calls nothing that it would wait for
    "diracx": DiracxEngine,
    "gb2": Gb2Engine,
    "htcondor": HtcondorEngine,
    "lsf": LsfEngine,
    "slurm": SlurmEngine,
}
"""What makes an engine of its site, and of the seconds for which it waits for what it calls."""

FilesFor = Callable[[Connection, WorkItem, Repository, Mapping[str, bytes]], Mapping[str, bytes]]

FILES_FOR: Mapping[str, FilesFor] = {"gb2": files_for}
"""For engines whose jobs need more files in an attempt's folder than all jobs do: what gives these, by name."""
