"""A hostile pull request costs little: whatever its files are, the answer comes in bounded time and memory."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from schemas.manifest.lock import read_lock
from schemas.policy.statement import read_statement
from schemas.policy.wire import Malformed
from tests.support.tables.promised_bounds import MARGIN, PROMISED_BYTES, PROMISED_SECONDS
from tests.support.worlds import builders
from tests.support.worlds.builders import CAMPAIGN, FILES, SKIMS, swap
from tests.support.worlds.history import make_history
from tests.support.worlds.measurement import measure

ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
SCANS = "".join(
    f"      s{n}: {{module: A, parameter: p{n}, values: {{{', '.join(f'v{m}: {m}' for m in range(50))}}}, reason: x, ticket: A-1}}\n"
    for n in range(8)
)


def lock_of(runs):
    site = {"engine": "local", "storage": "data", "layout": "x"}
    lock = {"schema": "lock/1", "campaign": "proc7", "runs": [runs], "selection": "0" * 64, "site": site}
    return json.dumps({**lock, "generation": 1}, indent=2) + "\n"


HOSTILE = {
    "a bomb of aliases": lambda: {FILES["campaign"]: ALIASES},
    "brackets without end": lambda: {FILES["campaign"]: "a: " + "[" * 200_000},
    "more bytes than a manifest has": lambda: {FILES["campaign"]: "a: x\n" * 3_000_000},
    "one key many times": lambda: {FILES["campaign"]: "title: x\n" * 25_000},
    "many keys that nobody knows": lambda: {
        FILES["campaign"]: CAMPAIGN + "".join(f"titel{n}: x\n" for n in range(15_000))
    },
    "a number of a hundred thousand digits": lambda: {
        FILES["campaign"]: swap(CAMPAIGN, ("4000", "9" * 100_000))
    },
    "a billion runs": lambda: {FILES["campaign"]: swap(CAMPAIGN, ('"1-20"', '"1-999999999"'))},
    "many ranges": lambda: {
        FILES["campaign"]: swap(
            CAMPAIGN, ('"1-20"', f'"{",".join(f"{n}-{n}" for n in range(1, 40_000, 2))}"')
        )
    },
    "a pattern that backtracks": lambda: {
        FILES["campaign"]: swap(CAMPAIGN, ('"1-20"', f'"{"1-" * 50_000}x"'))
    },
    "a name that backtracks": lambda: {
        FILES["campaign"]: swap(CAMPAIGN, ("ticket: BIIDP-1000", f"ticket: {'A' * 100_000}!"))
    },
    "braces within braces": lambda: {
        FILES["layouts"]: builders.LAYOUTS.replace("{campaign}", "{" * 50_000 + "a,b}" * 10)
    },
    "a cut of a hundred thousand brackets": lambda: {
        FILES["skims"]: swap(SKIMS, ("[Bhabha2Trk == 1]", "[" * 100_000))
    },
    "a cut that goes on and on": lambda: {
        FILES["skims"]: swap(SKIMS, ("[Bhabha2Trk == 1]", " and ".join(["[a == 1]"] * 15_000)))
    },
    "scans behind scans": lambda: {
        FILES["campaign"]: swap(
            CAMPAIGN,
            ("kind: reprocessing", "kind: calibration"),
            ("    parameters: {components", f"    scan:\n{SCANS}    parameters: {{components"),
        )
    },
    "a lock nested without end": lambda: {FILES["lock"]: "[" * 1_000_000},
    "a lock of many runs": lambda: {
        FILES["lock"]: '{"runs": [' + ",".join(f'"3:{n}"' for n in range(1, 200_000)) + "]}"
    },
    "a snapshot that is no snapshot": lambda: {FILES["snapshot"]: "x " * 5_000_000},
    "thousands of campaigns": lambda: {
        f"productions/campaigns/c{n}/campaign.yaml": "x: 1\n" for n in range(400)
    },
    "statements without end": lambda: {
        f"productions/campaigns/proc7/approvals/a/{n}.json": "[" * 60_000 for n in range(50)
    },
    "comments without end": lambda: {FILES["campaign"]: CAMPAIGN + "#\n" * 125_000},
    "comments in many files": lambda: {
        f"productions/skims/s{n}.yaml": SKIMS.replace("  hlt_", f"  h{n}_") + "#\n" * 125_000
        for n in range(20)
    },
    "comments that touch what they follow": lambda: {
        FILES["campaign"]: swap(CAMPAIGN, ("ticket: BIIDP-1000", f"ticket: 'a'{'#' * 250_000}"))
    },
    "tabs without end": lambda: {FILES["campaign"]: "# x\n" + "\t\n" * 125_000 + CAMPAIGN},
    "as many values as a file may hold": lambda: {FILES["campaign"]: f"a: [{'1,' * 49_000}]\n"},
    "and that in many files": lambda: {
        f"productions/campaigns/c{n}/campaign.yaml": f"a: [{'1,' * 20_000}]\n" for n in range(20)
    },
    "forbidden characters in each line": lambda: {
        FILES["campaign"]: CAMPAIGN + "x: '" + "\u202e\n " * 40_000 + "'\n"
    },
    "locks of ten million runs": lambda: {
        f"productions/campaigns/c{n}/{file}": text
        for n in range(10)
        for file, text in (("campaign.yaml", CAMPAIGN), ("campaign.lock", lock_of("3:1-9999999")))
    },
    "locks of as many runs as they may have": lambda: {
        f"productions/campaigns/c{n}/{file}": text
        for n in range(10)
        for file, text in (("campaign.yaml", CAMPAIGN), ("campaign.lock", lock_of("3:1-1999999")))
    },
    "a lock of sixty megabytes": lambda: {FILES["lock"]: "[" + "[]," * 20_000_000 + "[]]"},
    "a snapshot of which no line is one": lambda: {
        FILES["snapshot"]: "# b2prod snapshot/1\n" + "x\n" * 7_000_000
    },
    "a snapshot of sixty megabytes": lambda: {
        FILES["snapshot"]: "# b2prod snapshot/1\n" + "x\n" * 30_000_000
    },
    "a snapshot of very many payloads": lambda: {
        "productions/global-tags/big.iov": builders.snapshot(
            "big", *[f"P{n:07} 1 {'0123456789abcdef' * 2} 0,0,-1,-1" for n in range(130_000)]
        )
    },
    "keys of sixty megabytes": lambda: {"productions/allowed_signers": "x\n" * 30_000_000},
    "large files of no kind": lambda: {
        f"productions/runs/{n}.csv": f"{n}" + "x" * 60_000_000 for n in range(4)
    },
    "a policy of many people": lambda: {"productions/allowed_signers": "x@y ssh-ed25519 AAAA\n" * 20_000},
}


@pytest.mark.slow
@pytest.mark.parametrize("attack", HOSTILE)
def test_s34_a_hostile_manifest_is_answered_in_bounded_time_and_memory(attack, tmp_path):
    history = make_history(tmp_path / "origin")
    base = history.git("rev-parse", "HEAD")
    head = history.commit("hostile", **HOSTILE[attack]())
    b2prod = str(Path(sys.executable).parent / "b2prod")
    check = (b2prod, "--root", str(history.root), "check", "--base", base, "--head", head)
    code, seconds, memory = measure(*check)
    assert code in (Exit.FINE, Exit.FINDINGS, Exit.USAGE, Exit.UNAVAILABLE)
    assert memory < PROMISED_BYTES, f"{memory / 2**20:.0f} MB"
    assert seconds < PROMISED_SECONDS * MARGIN, f"{seconds:.1f} s"


WRONG = {
    "a statement about twenty thousand things": (read_statement, {"subject": [[]] * 20_000}),
    "a lock of two hundred thousand selections": (
        lambda data: read_lock("a", data),
        {"open_runs": [{}] * 200_000},
    ),
    "a lock of forty thousand selections that are in order": (
        lambda data: read_lock("a", data),
        {"open_runs": [{"experiment": 5, "from": 1, "max_runs": 8}] * 40_000},
    ),
    "a lock of thirty thousand tags": (
        lambda data: read_lock("a", data),
        {"global_tags": [{"name": "t", "digest": "z"}] * 30_000},
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_s34_much_that_is_wrong_in_json_costs_as_much_as_a_hundred_things(case):
    read, content = WRONG[case]
    stored = json.dumps(content, separators=(",", ":")).encode()
    with suppress(Malformed):
        read(b"{}")  # the schema is prepared once
    ratios = []
    for _ in range(3):  # something else may run on the machine at any moment
        begin = time.process_time()
        json.loads(stored)
        parsed = time.process_time()
        with suppress(Malformed):
            assert read(stored)[0] is None
        ratios.append((time.process_time() - parsed) / (0.05 + 40 * (parsed - begin)))
    assert min(ratios) < 1, "the validation costs little more than parsing"
