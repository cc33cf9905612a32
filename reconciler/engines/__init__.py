"""Engines by kind. Adding one is a file here, a line below, and its entry in the contract tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.engine import Engine
from reconciler.engines.diracx import DiracxEngine
from reconciler.engines.gb2 import Gb2Engine
from reconciler.engines.htcondor import HtcondorEngine
from reconciler.engines.local import LocalEngine
from reconciler.engines.lsf import LsfEngine
from reconciler.engines.slurm import SlurmEngine
from schemas.site import Site

ENGINES: Mapping[str, Callable[[Site, float], Engine]] = {
    "local": lambda site, _: LocalEngine(site),  # it calls nothing that it would wait for
    "diracx": DiracxEngine,
    "gb2": Gb2Engine,
    "htcondor": HtcondorEngine,
    "lsf": LsfEngine,
    "slurm": SlurmEngine,
}
"""What makes an engine of its site, and of the seconds for which it waits for what it calls."""
