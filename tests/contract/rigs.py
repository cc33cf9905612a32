"""The rigs of all engines, by the engine's name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.contract.diracx import DiracxRig
from tests.contract.gb2 import Gb2Rig
from tests.contract.htcondor import HtcondorRig
from tests.contract.local import LocalRig, PreparedRig
from tests.contract.lsf import LsfRig
from tests.contract.rig import Rig
from tests.contract.slurm import SlurmRig

RIGS: Mapping[str, type[Rig]] = {
    "local": LocalRig,
    "slurm": SlurmRig,
    "lsf": LsfRig,
    "htcondor": HtcondorRig,
    "diracx": DiracxRig,
    "gb2": Gb2Rig,
}

ALL_RIGS: Mapping[str, type[Rig]] = {**RIGS, "local, prepared": PreparedRig}
"""These, and those that start jobs in another way."""
