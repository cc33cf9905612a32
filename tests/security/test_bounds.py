"""A hostile pull request costs little: whatever its files are, the answer comes in bounded time and memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ci.exits import Exit
from tests import builders
from tests.builders import CAMPAIGN, FILES, SKIMS, swap
from tests.history import make_history

PROMISED_SECONDS, PROMISED_BYTES = 2.0, 300 * 2**20
MARGIN = 4
"""Of processor time, on machines that are slower than those that the promise is about, or busy."""

ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
SCANS = "".join(
    f"      s{n}: {{module: A, parameter: p{n}, values: {{{', '.join(f'v{m}: {m}' for m in range(50))}}}, reason: x, ticket: A-1}}\n"
    for n in range(8)
)
HOSTILE = {
    "a bomb of aliases": {FILES["campaign"]: ALIASES},
    "brackets without end": {FILES["campaign"]: "a: " + "[" * 200_000},
    "more bytes than a manifest has": {FILES["campaign"]: "a: x\n" * 3_000_000},
    "one key many times": {FILES["campaign"]: "title: x\n" * 25_000},
    "many keys that nobody knows": {
        FILES["campaign"]: CAMPAIGN + "".join(f"titel{n}: x\n" for n in range(15_000))
    },
    "a number of a hundred thousand digits": {FILES["campaign"]: swap(CAMPAIGN, ("4000", "9" * 100_000))},
    "a billion runs": {FILES["campaign"]: swap(CAMPAIGN, ('"1-20"', '"1-999999999"'))},
    "many ranges": {
        FILES["campaign"]: swap(
            CAMPAIGN, ('"1-20"', f'"{",".join(f"{n}-{n}" for n in range(1, 40_000, 2))}"')
        )
    },
    "a pattern that backtracks": {FILES["campaign"]: swap(CAMPAIGN, ('"1-20"', f'"{"1-" * 50_000}x"'))},
    "a name that backtracks": {
        FILES["campaign"]: swap(CAMPAIGN, ("ticket: BIIDP-1000", f"ticket: {'A' * 100_000}!"))
    },
    "braces within braces": {
        FILES["layouts"]: builders.LAYOUTS.replace("{campaign}", "{" * 50_000 + "a,b}" * 10)
    },
    "a cut of a hundred thousand brackets": {
        FILES["skims"]: swap(SKIMS, ("[Bhabha2Trk == 1]", "[" * 100_000))
    },
    "a cut that goes on and on": {
        FILES["skims"]: swap(SKIMS, ("[Bhabha2Trk == 1]", " and ".join(["[a == 1]"] * 15_000)))
    },
    "scans behind scans": {
        FILES["campaign"]: swap(
            CAMPAIGN,
            ("kind: reprocessing", "kind: calibration"),
            ("    parameters: {components", f"    scan:\n{SCANS}    parameters: {{components"),
        )
    },
    "a lock nested without end": {FILES["lock"]: "[" * 1_000_000},
    "a lock of many runs": {
        FILES["lock"]: '{"runs": [' + ",".join(f'"3:{n}"' for n in range(1, 200_000)) + "]}"
    },
    "a snapshot that is no snapshot": {FILES["snapshot"]: "x " * 5_000_000},
    "thousands of campaigns": {f"productions/campaigns/c{n}/campaign.yaml": "x: 1\n" for n in range(400)},
    "statements without end": {
        f"productions/campaigns/proc7/approvals/a/{n}.json": "[" * 60_000 for n in range(50)
    },
    "a policy of many people": {"productions/allowed_signers": "x@y ssh-ed25519 AAAA\n" * 20_000},
}


def measure(*command):
    """Exit code, seconds of processor time and bytes of memory of a command; what it wrote is thrown away."""
    null = os.open(os.devnull, os.O_RDWR)
    child = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    )
    os.close(null)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.parametrize("attack", HOSTILE)
def test_s34_a_hostile_manifest_is_answered_in_bounded_time_and_memory(attack, tmp_path):
    history = make_history(tmp_path / "origin")
    base = history.git("rev-parse", "HEAD")
    head = history.commit("hostile", **HOSTILE[attack])
    b2prod = str(Path(sys.executable).parent / "b2prod")
    check = (b2prod, "--root", str(history.root), "check", "--base", base, "--head", head)
    code, seconds, memory = measure(*check)
    assert code in (Exit.FINE, Exit.FINDINGS, Exit.UNAVAILABLE)
    assert memory < PROMISED_BYTES, f"{memory / 2**20:.0f} MB"
    assert seconds < PROMISED_SECONDS * MARGIN, f"{seconds:.1f} s"
