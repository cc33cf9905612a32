"""The engine `lsf` under contract: LSF's commands are played on a real Slurm, since no LSF can be had."""

from __future__ import annotations

import sys

import pytest

from reconciler.engines.lsf.engine import COMMANDS, LsfEngine
from reconciler.ledger.writing.lease import CALL
from schemas.policy.site import BatchSettings, Site
from tests.contract import lsf_commands
from tests.contract.slurm import POWERS, CommandRig

DOWN = "fail Cannot connect to LSF. Please wait ..."
FAULTS = {
    "accept_then_fail": {"bsub": "accept Failed in an LSF library call: Communication time out"},
    "accept_then_hang": {"bsub": "accept hang"},
    "accept_silently": {"bsub": "empty"},
    "noise_before": {"bsub": "before"},
    "noise_around": {"bsub": "around"},
    "noise_on_the_line": {"bsub": "inline"},
    "submit_fails": {"bsub": DOWN},
    "submit_refused": {"bsub": "fail nowhere: No such queue. Job not submitted."},
    "partial_array": {"bsub": "partial [1-4] [1-2]"},
    "unreachable": dict.fromkeys(COMMANDS, DOWN),
    "hang": dict.fromkeys(COMMANDS, "hang"),
    "late": {"bjobs": "nothing", "bhist": "nothing"},
    "query_fails": {"bjobs": DOWN},
    "queue_fails": {"bjobs": DOWN},
    "accounting_fails": {"bhist": "fail Failed in an LSF library call: event file is busy"},
    "query_empty": {"bjobs": "empty at once"},
    "query_cut": {"bjobs": "cut"},
    "query_noise": {"bjobs": "before"},
    "cancel_fails": {"bkill": DOWN},
}


class LsfRig(CommandRig):
    plays = frozenset({*FAULTS, *POWERS})
    commands = COMMANDS
    faults = FAULTS

    @classmethod
    def find_command(cls, name, folder):
        command = folder / f"real-{name}"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -S {lsf_commands.__file__} {name} "$@"\n')
        command.chmod(0o755)
        return str(command)

    def make_engine(self, seconds=None, **changes):
        site = {"name": "here", "engine": "lsf", "storage": "data", "queue": self.partition, "slots": 1000}
        return LsfEngine(Site(**{**site, **changes}), seconds or CALL - 4)

    def broken_sites(self):
        yield "nowhere", self.make_engine(queue="nowhere")
        yield "Closed", self.make_engine(queue="closed")
        yield "1000", self.make_engine(batch=BatchSettings(width=5000))
        yield "python", self.make_engine(batch=BatchSettings(python="/opt/my python"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", "/nowhere")
            yield "bsub", self.make_engine()
