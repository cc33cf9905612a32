"""Logs of jobs: the line that matters is found, and the same error bears the same signature everywhere."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from renderer.applications import APPLICATIONS
from renderer.jobs.logs import LENGTH, LINE, find_signature, gather_alike, normalise

BASF2 = """\
[INFO] Steering file: steering.py
[INFO] Starting event processing, random seed is set to '{seed}'
[WARNING] A line to be passed over  {{ module: CDCUnpacker }}
[ERROR] Corrupt block in event {event}  {{ module: SVDUnpacker }}
[FATAL] Couldn't open file {path}  {{ module: RootInput function: void Belle2::RootInputModule::initialize() }}
[INFO] ===Error Summary================================================================
[FATAL] Couldn't open file {path}  {{ module: RootInput }}
[ERROR] Corrupt block in event {event}  {{ module: SVDUnpacker }}
[INFO] ================================================================================
[ERROR] in total, 1 errors occurred during processing
"""

ONE = BASF2.format(
    seed="1f9c20ab77",
    event=4711,
    path="/hsm/belle2/bdata/Data/Raw/e0003/r00529/sub00/physics.0003.00529.HLT2.f00000.root",
)
OTHER = BASF2.format(
    seed="99", event=3, path="/group/belle2/dataprod/Data/Raw/physics.0003.05613.HLT1.f00012.root"
)

CHAIN = """\
Traceback (most recent call last):
  File "/opt/steering.py", line 12, in <module>
    open_all()
KeyError: 'tree'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/opt/steering.py", line 14, in <module>
    raise ValueError(f"run {run} has no tree")
ValueError: run 529 has no tree
the wrapper's last words
"""


def test_the_same_error_of_another_run_has_the_same_signature():
    one, other = find_signature(ONE, "basf2"), find_signature(OTHER, "basf2")
    assert one.signature == other.signature
    assert one.signature == (
        "FATAL: Couldn't open file <path>.root { module: RootInput function: void Belle2::RootInputModule::initialize() }"
    )


def test_the_line_is_named_by_its_number():
    found = find_signature(ONE, "basf2")
    assert (found.number, found.line) == (5, ONE.splitlines()[4])
    assert find_signature(ONE, "basf2", first=1001).number == 1005


def test_a_result_is_three_values():
    signature, number, line = find_signature(CHAIN)
    assert (signature, number, line) == (
        "exception: ValueError: run # has no tree",
        11,
        "ValueError: run 529 has no tree",
    )


def test_errors_count_where_nothing_stronger_is_said_and_the_summary_is_not_read_for_them():
    text = "".join(line for line in ONE.splitlines(keepends=True) if "FATAL" not in line)
    found = find_signature(text, "basf2")
    assert (found.number, found.signature) == (4, "ERROR: Corrupt block in event # { module: SVDUnpacker }")
    assert find_signature(text, "uproot") is None


def test_an_exception_that_was_caught_is_behind_the_one_that_was_not():
    caught = CHAIN.replace("ValueError: run", "OSError: run") + "and on it went\n" + CHAIN
    assert find_signature(caught).line.startswith("ValueError")


@pytest.mark.parametrize(
    ("line", "signature"),
    [
        (
            "terminate called after throwing an instance of 'std::bad_alloc'",
            "memory: terminate called after throwing an instance of 'std::bad_alloc'",
        ),
        (
            "slurmstepd: error: *** JOB 77 ON n1 CANCELLED AT 2019-02-07T12:00:00 DUE TO TIME LIMIT ***",
            "limit: slurmstepd: error: *** JOB # ON n1 CANCELLED AT <time> DUE TO TIME LIMIT ***",
        ),
        (
            "OSError: [Errno 28] No space left on device: '/scratch/j-1/x.root'",
            "exception: OSError: [Errno #] No space left on device: '<path>.root'",
        ),
        (
            "cp: error writing '/a/b': No space left on device",
            "disk: cp: error writing '<path>': No space left on device",
        ),
        (" *** Break *** segmentation violation", "crash: *** Break *** segmentation violation"),
        (
            "/b/slurm_script: line 4: basf2: command not found",
            "command: <path>: line #: basf2: command not found",
        ),
        ("12.345: [FATAL] (3) Bad run 529 at 0x7f00aa  { module: A }", "FATAL: Bad run # at # { module: A }"),
        ("\x1b[31m[FATAL] Bad\x1b[0m", "FATAL: Bad"),
        ("SyntaxError: invalid syntax", "exception: SyntaxError: invalid syntax"),
    ],
)
def test_what_ends_jobs_is_recognised(line, signature):
    found = find_signature(f"before\n{line}\nafter\n")
    assert (found.signature, found.number) == (signature, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "cannot read b2p-1f9c-proc7-reco-e3r529-j0a1b2c3-i7-a1",
            "cannot read b2p-1f9c-proc7-reco-e3r530-jffffffff-i9-a2",
        ),
        (
            "payload 0123456789abcdef0123456789abcdef differs",
            "payload fedcba9876543210fedcba9876543210 differs",
        ),
        (
            "e0003/r00529/mdst.physics.0003.00529.root is short",
            "e0012/r12345/mdst.cosmic.0012.12345.root is short",
        ),
        ("at 2019-02-07 12:00:01 code -11", "at 2020-12-31 23:59:59 code -6"),
        ("no answer from https://a.example.org:8443/x?y=1", "no answer from https://b.example.org/"),
    ],
)
def test_what_differs_between_occurrences_is_left_out(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cannot open /a/x.root", "cannot open /a/x.py"),
        ("module CDCUnpacker failed", "module SVDUnpacker failed"),
        (
            "[ERROR] A  { module: B @framework/core/src/B.cc:12 }",
            "[ERROR] A  { module: B @framework/core/src/C.cc:12 }",
        ),
    ],
)
def test_other_errors_stay_apart(one, other):
    assert normalise(one) != normalise(other)


MESSAGES = (
    "{file}: tree `events` has no branch nTracksLE; nearest: nTracksHLT",
    "{file}: tree `events` has no branch EC1CMSLE; it holds experiment, run, event",
    "{file}: tree `events` has no branch EC2CMSLE; it holds experiment, run, event",
    "{file}: tree `tree`, entry {number}: no HLT line `software_trigger_cut&skim&accept_hadron`",
    "{file}: tree `tree`, entry {number}: no HLT line `software_trigger_cut&skim&accept_bhabha`",
    "{file} has {number} bytes, registered were {number}",
    "{file} has {number} events, registered were {number}",
    "{file} has the checksum adler32:{hex8}, registered was adler32:{hex8}",
    "{file} has the checksum md5:{hex32}, registered was md5:{hex32}",
    "{file} is cut short: its header states {number} bytes, it has {number}",
    "{file} is an empty file ({number} bytes)",
    "{file}: event {number} belongs to {run}, the job is for {run}",
    "{file}: No such file or directory",
    "{file}: Permission denied",
    "'{file}' and \"{file}\" hold {number} events twice",
    "{run} reads {number} events, its record has {number}",
    "{run}: no payload CDCGeometry",
    "{run}: no payload SVDGeometry",
    "job {number} of run {run} took {number}s and {number}MB, killed at 0x{hex8}",
    "payload {hex32} of {run} differs in {hex64}",
    "the application ended with status {number}",
    "the application was ended by signal {number}",
    "/opt/{hex8}/steering.py: line {number}: basf2: command not found",
    "OSError: [Errno {number}] No space left on device: '{file}'",
)
STEMS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_+=@.-]{0,30}", fullmatch=True)
NAMES = st.lists(STEMS, min_size=1, max_size=4).map("/".join)
HOLES = {
    "file": st.builds(
        lambda top, name, end: f"{top}{name}{end}",
        st.sampled_from(["", "/", "/hsm/belle2/", "../", "./"]),
        NAMES,
        st.just(".root"),
    ),
    "number": st.one_of(
        st.integers(-(10**12), 10**12).map(str),
        st.integers(0, 10**12).map("{:,}".format),
        st.floats(0, 1e12).map(repr),
    ),
    "run": st.builds("{}:{}".format, st.integers(0, 4000), st.integers(0, 10**6))
    | st.builds("{}:{}-{}, {}".format, *[st.integers(0, 10**6)] * 4),
    **{f"hex{size}": st.text("0123456789abcdef", min_size=size, max_size=size) for size in (8, 32, 64)},
}


@st.composite
def fill(draw, message):
    return re.sub(r"\{(\w+)\}", lambda hole: draw(HOLES[hole[1]]), message)


@given(st.data(), st.sampled_from(MESSAGES))
def test_names_runs_numbers_and_digests_change_no_signature(data, message):
    one, other = data.draw(fill(message)), data.draw(fill(message))
    assert normalise(one) == normalise(other)


@given(st.data(), st.sampled_from(MESSAGES), st.sampled_from(MESSAGES))
def test_other_messages_have_other_signatures(data, message, another):
    assume(message != another)
    assert normalise(data.draw(fill(message))) != normalise(data.draw(fill(another)))


def test_what_is_alike_comes_together_in_the_order_of_the_first():
    cases = ["a.root is short", "no geometry", "b.root is short", "run 3:5: late", "no geometry"]
    assert gather_alike(cases, str) == [
        ["a.root is short", "b.root is short"],
        ["no geometry", "no geometry"],
        ["run 3:5: late"],
    ]


@given(st.text(), st.sampled_from([None, *APPLICATIONS]))
def test_any_text_is_read(text, application):
    found = find_signature(text, application)
    assert found is None or len(found.signature) <= LENGTH


def test_a_line_of_a_megabyte_is_read_at_once():
    assert find_signature("[FATAL] " + "/a" * 500_000).signature == "FATAL: <path>"


NASTY = (
    "1.",
    "1",
    "1@",
    "a/",
    "/a",
    "/",
    "1-",
    "1e",
    "a+",
    "a1",
    "a://",
    ":/",
    "b2p-",
    ".root",
    "1.root",
    "~/",
    " ",
    "0x",
)


@given(st.lists(st.tuples(st.sampled_from(NASTY), st.integers(1, 2000)), max_size=4), st.sampled_from(" !/x"))
@example([("1.", 1000)], "!")
@example([("a/", 1000), (".root", 1)], "x")
def test_a_line_that_nearly_fits_everywhere_costs_no_time(parts, end):
    line = "".join(text * count for text, count in parts) + end
    begun = time.process_time()
    assert len(normalise(line)) <= LENGTH
    assert len(find_signature(f"[FATAL] {line}").line) <= LINE
    assert time.process_time() - begun < 0.5


def test_a_signature_and_a_line_can_be_written():
    found = find_signature("[FATAL] a\0b\udc80")
    assert (found.signature, found.line) == ("FATAL: a\ufffdb\ufffd", "[FATAL] a\ufffdb\ufffd")
    assert normalise("a\0b\udc80") == "a\ufffdb\ufffd"
