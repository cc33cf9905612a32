"""The rules beyond the schemas: what they must let pass, their bounds, and that nothing makes them fail.

What they must refuse, with place and words, is in the corpus of `tests/wrong`.
"""

from __future__ import annotations

import inspect
import itertools
import json
import time
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas.rules
from schemas.files.canonical import digest
from schemas.findings.codes import CODES
from schemas.manifest.lock import Lock, PinnedTag, read_lock
from schemas.manifest.runs import RunRange
from schemas.policy.scopes import pin_scopes
from schemas.repository import Declared
from schemas.rules import RULES, check_repository
from schemas.rules.support.cycles import find_circles
from schemas.rules.support.intervals import count, intersect, show_ranges, subtract, unite
from tests.support.worlds import builders
from tests.support.worlds.builders import CAMPAIGN, FILES, PROMPT, SKIMS, campaign, check, read, swap, tree


def codes(files) -> list[str]:
    return [finding.code for finding in check(files)]


def also(name: str, text: str) -> dict[str, str]:
    """One campaign more."""
    return {f"productions/campaigns/{name}/campaign.yaml": text}


# ── the set of rules ──


def test_every_rule_is_in_the_set_and_says_what_it_ensures():
    modules = [import_module(f"schemas.rules.{one.name}") for one in iter_modules(schemas.rules.__path__)]
    found = {
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("check_") and function.__module__ == module.__name__
    }
    assert found == set(RULES)
    assert len(RULES) == len(set(RULES))
    for rule in RULES:
        assert rule.__doc__.startswith("Ensure "), rule.__name__


def test_findings_are_sorted_and_said_once():
    files = tree(campaign=campaign(("site: local", "site: x"), ("layout: plain", "layout: y")), layouts=None)
    repository, _ = read(files)
    findings = check_repository(repository)
    assert list(findings) == sorted(set(findings))


# ── what must pass ──

SECOND = campaign(("{experiment: 4", "{experiment: 6"))
SKIMMING = swap(PROMPT, ("kind: prompt", "kind: skim"), ("state: held\n", ""))

PASSING = {
    "runs that touch": tree(campaign=campaign(("529-613, 620", "529-599, 600-613, 620"))),
    "runs in any order": tree(campaign=campaign(("529-613, 620", "620, 529-613"))),
    "selectors of other types": tree(
        campaign=campaign(
            ('{experiment: 4, ranges: "1-20"}', '{experiment: 3, ranges: "529-540", types: [cosmic]}')
        )
    ),
    "selectors that exclude each other's runs": tree(
        campaign=campaign(('{experiment: 4, ranges: "1-20"}', '{experiment: 3, ranges: "600"}'))
    ),
    "an open selector behind a closed one": tree(
        prompt=swap(PROMPT, ("from: 1,", "from: 20,")).replace(
            "runs:\n", 'runs:\n  - {experiment: 5, ranges: "1-19"}\n'
        )
    ),
    "open selections in a calibration": tree(prompt=swap(PROMPT, ("kind: prompt", "kind: calibration"))),
    "one that supersedes the other": tree(
        **also("proc8", swap(CAMPAIGN, ("ticket:", "supersedes: [proc7]\nticket:")))
    ),
    "one that supersedes the other through a third, which is stopped": tree(
        **also("proc8", swap(CAMPAIGN, ("ticket:", "supersedes: [proc7]\nstate: stopped\nticket:"))),
        **also("proc9", swap(CAMPAIGN, ("ticket:", "supersedes: [proc8]\nticket:"))),
    ),
    "the same runs, stopped": tree(**also("proc8", swap(CAMPAIGN, ("ticket:", "state: stopped\nticket:")))),
    "the same runs, for calibration": tree(
        **also("proc8", swap(CAMPAIGN, ("kind: reprocessing", "kind: calibration")))
    ),
    "the same runs, other outputs": tree(
        **also(
            "proc8",
            swap(
                CAMPAIGN,
                ("outputs: [mdst, cdst]", "outputs: [dst]"),
                ("{step: reco, level: mdst}", "{step: reco, level: dst}"),
                ("skims: [hlt_hadron, hlt_bhabha]", "skims: [line_hadron]"),
            ),
        )
    ),
    "other runs": tree(
        **also("proc8", swap(SECOND, ('"529-613, 620", exclude: "600"', '"614-619, 621-700"')))
    ),
    "the run that the other excludes": tree(
        **also("proc8", swap(SECOND, ('"529-613, 620", exclude: "600"', '"600"')))
    ),
    "the same skim of another input": tree(
        campaign=campaign(
            (
                "limits:",
                "  cdst: {application: uproot, input: {step: reco, level: cdst}, skims: [hlt_bhabha]}\nlimits:",
            )
        )
    ),
    "a name that tells its experiments": tree(
        campaign=None, **also("exp3_to_exp4_had", CAMPAIGN), **also("Belle_expert", SKIMMING)
    ),
    "cosmic runs among others": tree(
        prompt=swap(PROMPT, ("types: [cosmic]", "types: [cosmic, physics]")), **also("GCR6", SKIMMING)
    ),
    "a step that reads a skim of another": tree(
        prompt=swap(
            PROMPT,
            (
                "limits:",
                "  more: {application: uproot, input: {step: skims, skim: line_hadron}, skims: [hlt_bhabha]}\nlimits:",
            ),
        )
    ),
    "parameters of every type": tree(
        campaign=campaign(
            (
                "{components: [CDC, ECL], prune_tracks: false}",
                "{components: [], trigger_mode: hlt, threshold: 1, depth: 4}",
            )
        )
    ),
    "the leap day": tree(prompt=swap(PROMPT, ("2019-04-30", "2020-02-29"))),
    "as many runs as can be": tree(campaign=campaign(('"1-20"', '"0-49999000"'))),
    "one unit for each step": tree(campaign=campaign(("max_units: 4000", "max_units: 2"))),
}


@pytest.mark.parametrize("files", PASSING.values(), ids=PASSING)
def test_passes(files):
    assert check(files) == ()


# ── bounds ──


@pytest.mark.parametrize(
    ("runs", "expected"),
    [('"0-49999914"', []), ('"0-49999915"', ["BP701"]), ('"0-99999999"', ["BP701"])],
)
def test_s33_declared_units_are_bounded_at_a_hundred_million(runs, expected):
    # 85 runs of experiment 3 and two steps: with 49,999,915 runs of experiment 4 they make 10**8 units
    files = tree(campaign=campaign(('"1-20"', runs)))
    start = time.process_time()
    assert codes(files) == expected
    assert time.process_time() - start < 10


def test_s33_open_selections_count_by_their_caps():
    many = "".join(f"  - {{experiment: {one}, from: 1, max_runs: 1000000}}\n" for one in range(10, 110))
    one_step = swap(PROMPT, ("runs:\n", f"runs:\n{many}")).replace(
        '  - {experiment: 5, from: 1, types: [cosmic], max_runs: 800, until: "2019-04-30"}\n', ""
    )
    assert codes(tree(prompt=one_step)) == []
    two_steps = swap(
        one_step,
        ("limits:", "  more: {application: uproot, input: {level: mdst}, skims: [line_hadron]}\nlimits:"),
    )
    assert codes(tree(prompt=two_steps)) == ["BP701"]


@pytest.mark.parametrize(("length", "expected"), [(40, []), (41, ["BP301"])])
def test_length_of_a_campaigns_name(length, expected):
    assert codes(tree(campaign=None, **also("p" * length, CAMPAIGN))) == expected


@pytest.mark.parametrize("name", ["-p", ".p", "_p", "p q", "prüf", "p" * 300, "~", "%2e"])
def test_illegal_folders_get_a_legal_suggestion(name):
    files = tree(campaign=None, **{f"productions/campaigns/{name}/campaign.yaml": CAMPAIGN})
    found = [finding for finding in check(files) if finding.code == "BP301"]
    suggestion = found[0].hint.split("`")[1]
    renamed = tree(campaign=None, **also(suggestion, CAMPAIGN))
    assert "BP301" not in codes(renamed)


@pytest.mark.parametrize("name", ["all", "ALL", "skim", "attempt", "fingerprint", "b2p-x", "B2P-x"])
def test_reserved_names_of_campaigns(name):
    assert codes(tree(campaign=None, **also(name, CAMPAIGN))) == ["BP210"]


@pytest.mark.parametrize("tag", ["master", "main", "LATEST", "Online"])
def test_moving_tags_are_refused_even_with_a_snapshot(tag):
    files = tree(
        campaign=campaign(("name: data_reprocessing_proc7", f"name: {tag}")),
        **{f"productions/global-tags/{tag}.iov": builders.snapshot(tag)},
    )
    assert codes(files) == ["BP504"]


def test_a_dated_tag_of_the_main_branch_does_not_move():
    tag = "main_2022-07-05"
    files = tree(
        campaign=campaign(("name: data_reprocessing_proc7", f"name: {tag}")),
        **{f"productions/global-tags/{tag}.iov": builders.snapshot(tag)},
    )
    assert codes(files) == []


# ── places inside a text ──


@pytest.mark.parametrize(
    ("written", "column"),
    [('"529-613, 10-1"', 39), ("'529-613, 10-1'", 39), ("529-613;10-1", 29)],
)
def test_a_range_is_pointed_at_in_its_text(written, column):
    files = tree(campaign=campaign(('"529-613, 620", exclude: "600"', written)))
    (finding,) = check(files)
    assert (finding.place.line, finding.place.column) == (7, column)


def test_a_range_without_quotes_is_pointed_at():
    text = campaign(('  - {experiment: 4, ranges: "1-20"}', "  - experiment: 4\n    ranges: 1-20, 40-30"))
    (finding,) = check(tree(campaign=text))
    assert (finding.place.line, finding.place.column, finding.code) == (9, 19, "BP401")


def test_every_overlap_of_a_list_is_told():
    """A long range may lie over several others; comparing neighbours only would miss the second."""
    (one, other) = check(tree(campaign=campaign(('"529-613, 620"', '"529-700, 540, 610"'))))
    assert "540 repeats" in one.message
    assert "610 repeats" in other.message


# ── what cannot be read is not complained about twice ──


@pytest.mark.parametrize(
    "changes",
    [
        {"layouts": "schema: layouts/1\nlayouts: {"},
        {"releases": "releases: ["},
        {"skims": "schema: skims/1"},
        {"site": "schema: site/1"},
        {"snapshot": "nonsense"},
        {"skims": swap(SKIMS, ("[Bhabha2Trk == 1]", "[Bhabha2Trk = 1]"))},
    ],
    ids=["layouts", "releases", "skims", "site", "snapshot", "cut"],
)
def test_references_to_broken_files_have_no_findings(changes):
    (name,) = changes
    assert {finding.place.file for finding in check(tree(**changes))} == {FILES[name]}


# ── locks ──


def make_lock(**changes) -> Lock:
    repository, _ = read(tree())
    declared = repository.campaigns["proc7"]
    chosen = declared.campaign
    skims = ((name, repository.skims[name]) for name in ("hlt_bhabha", "hlt_hadron"))
    lock = Lock(
        campaign="proc7",
        generation=1,
        runs=tuple((3 << 32) + run for run in (529, 530, 620)),
        selection=digest([selector.describe() for selector in chosen.selectors]),
        release="release-03-00-00",
        tags=(
            PinnedTag(
                "data_reprocessing_proc7",
                repository.snapshots["data_reprocessing_proc7"].digest,
                state="PUBLISHED",
            ),
        ),
        steps=(("reco", "0" * 64), ("skims", "1" * 64)),
        templates=(("raw_to_mdst/1", "0" * 64),),
        skims=tuple((name, digest(skim.describe())) for name, skim in skims),
        engine="local",
        storage="data",
        layout=repository.layouts["plain"].folder,
    )
    return replace(pin_scopes(lock, chosen, declared.document.data, None), **changes)


def test_a_lock_of_this_manifest_passes():
    assert check(tree(lock=make_lock().text())) == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"campaign": "proc6"},
        {"runs": ((3 << 32) + 528,)},
        {"runs": ((3 << 32) + 600,)},
        {"runs": ((2 << 32) + 529,)},
        {"runs": ((5 << 32) + 1,)},
        {"selection": "1" * 64},
        {"release": None},
        {"release": "release-04-00-00"},
        {"commit": "0" * 40},
        {"tags": ()},
        {"tags": (PinnedTag("data_reprocessing_proc7", "1" * 64, state="PUBLISHED"),)},
        {"templates": ()},
        {"skims": ()},
        {"skims": (("hlt_bhabha", "1" * 64), ("hlt_hadron", "1" * 64))},
        {"engine": "slurm"},
        {"storage": "elsewhere"},
        {"layout": "{campaign}"},
        {"scopes": ()},
        {"since": (("calibration", 1), ("everything", 1), ("release", 2))},
        {"generation": 2},
        {"scopes": tuple((name, "1" * 64) for name in ("calibration", "everything", "release"))},
    ],
    ids=str,
)
def test_w56_each_entry_of_a_lock_is_compared(changes):
    found = check(tree(lock=make_lock(**changes).text()))
    assert {finding.code for finding in found} == {"BP605"}
    assert all("b2prod resolve proc7" in finding.hint for finding in found)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_as_a_lock_are_a_lock_or_findings(content):
    lock, findings = read_lock("campaign.lock", content)
    assert (lock is None) == bool(findings)


@pytest.mark.parametrize("text", ["[" * 100_000, '"\\ud800"', "NaN", "1" * 5000, "{}", "\ufeff{}"])
def test_hostile_json_as_a_lock_is_a_finding(text):
    _, findings = read_lock("campaign.lock", text.encode())
    assert findings


def test_a_lock_with_half_a_character_is_a_finding():
    content = make_lock().text().replace("release-03-00-00", "\\ud800").encode()
    assert read_lock("campaign.lock", content)[1]


# ── arithmetic ──

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=8).map(
    lambda pairs: [RunRange(first, first + more) for first, more in pairs]
)


def members(ranges) -> set[int]:
    return {run for item in ranges for run in range(item.first, item.last + 1)}


@given(RANGES, RANGES)
def test_intervals_are_sets(one, other):
    united, common, left = unite(one), intersect(unite(one), unite(other)), subtract(one, other)
    assert members(united) == members(one)
    assert members(common) == members(one) & members(other)
    assert members(left) == members(one) - members(other)
    assert count(united) == len(members(one))
    for result in (united, left):
        assert all(a.last + 1 < b.first for a, b in itertools.pairwise(result))
        assert list(result) == sorted(result)


def test_long_lists_of_ranges_are_cut_short_in_messages():
    ranges = [RunRange(10 * item, 10 * item + 1) for item in range(8)]
    assert show_ranges(ranges, 3) == "3:0-1, 10-11, 20-21, 30-31, 40-41 and 6 more"
    assert show_ranges([RunRange(7, 99_999_999)]) == "7 and all later ones"


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdefg"), max_size=3)))
def test_circles_are_circles_and_without_them_there_is_an_order(graph):
    circles = find_circles(graph)
    for circle in circles:
        assert circle[0] == circle[-1] == min(circle)
        assert all(after in graph[before] for before, after in itertools.pairwise(circle))
    left = {name: set(others) for name, others in graph.items()}
    while free := [name for name in left if not left[name] & left.keys()]:
        for name in free:
            del left[name]
    assert bool(circles) == bool(left)


# ── nothing makes a rule fail ──

NAMES = st.sampled_from(["a", "b", "c", "all", "attempt"])
RUNS = st.from_regex(r"[0-9]{1,9}(-[0-9]{1,9})?(, ?[0-9]{1,4}(-[0-9]{1,4})?){0,3}", fullmatch=True)
TEXTS = st.text("0123456789-, :é", min_size=1, max_size=12) | RUNS | st.just("1" * 5000)
LEVELS = st.sampled_from(["raw", "cdst", "mdst", "dst", "udst", "ntuple", "skim"])
SCALARS = st.booleans() | st.integers(-9, 9) | st.floats(0, 9) | st.sampled_from(["", "CDC", "all", "é"])
PARAMETERS = st.sampled_from(
    ["components", "prune_tracks", "trigger_mode", "threshold", "depth", "tree", "x"]
)

SELECTORS = st.fixed_dictionaries(
    {"experiment": st.integers(0, 5)},
    optional={
        "ranges": TEXTS,
        "exclude": TEXTS,
        "types": st.lists(
            st.sampled_from(["physics", "beam", "cosmic"]), min_size=1, max_size=3, unique=True
        ),
        "from": st.integers(0, 99_999_999),
        "until": st.sampled_from(["2019-04-30", "2019-02-30", "0000-00-00", "9999-99-99"]),
        "max_runs": st.integers(1, 1_000_000),
    },
)
INPUTS = st.one_of(
    st.fixed_dictionaries({"level": LEVELS}, optional={"step": NAMES, "skim": NAMES}),
    st.fixed_dictionaries({"step": NAMES}, optional={"skim": st.sampled_from(["hlt_hadron", "x"])}),
    st.fixed_dictionaries({"skim": NAMES}),
)
STEPS = st.fixed_dictionaries(
    {"application": st.sampled_from(["basf2", "uproot"]), "input": INPUTS},
    optional={
        "template": st.sampled_from(["raw_to_mdst/1", "mdst_to_udst/1", "gone/1"]),
        "outputs": st.lists(LEVELS, min_size=1, max_size=3, unique=True),
        "skims": st.lists(st.sampled_from(["hlt_hadron", "hlt_bhabha", "x" * 64]), min_size=1, unique=True),
        "parameters": st.dictionaries(PARAMETERS, SCALARS | st.lists(SCALARS, max_size=3), min_size=1),
        "split": st.sampled_from(["file", "run"]),
    },
)
TAGS = st.fixed_dictionaries(
    {"name": st.sampled_from(["data_reprocessing_proc7", "main", "t" * 120]), "mode": st.just("snapshot")}
)
CAMPAIGNS = st.fixed_dictionaries(
    {
        "schema": st.just("campaign/1"),
        "title": st.just("x"),
        "kind": st.sampled_from(["reprocessing", "calibration", "prompt", "skim"]),
        "runs": st.lists(SELECTORS, min_size=1, max_size=4),
        "site": st.sampled_from(["local", "gone"]),
        "layout": st.sampled_from(["plain", "gone"]),
        "steps": st.dictionaries(NAMES, STEPS, min_size=1, max_size=4),
        "limits": st.fixed_dictionaries(
            {"max_units": st.integers(1, 9)}, optional={"max_restate": st.integers(0, 9)}
        ),
    },
    optional={
        "state": st.sampled_from(["active", "stopped"]),
        "supersedes": st.lists(st.sampled_from(["p", "q", "r", "gone"]), min_size=1, unique=True),
        "release": st.sampled_from(["release-03-00-00", "release-04-00-00", "release-09-00-00"]),
        "global_tags": st.lists(TAGS, min_size=1, max_size=3),
    },
)


@settings(max_examples=150)
@given(st.lists(CAMPAIGNS, min_size=1, max_size=3))
@pytest.mark.slow
def test_whatever_the_schema_accepts_gets_findings_and_no_exception(declared):
    texts = {
        f"productions/campaigns/{name}/campaign.yaml": json.dumps(data)
        for name, data in zip("pqr", declared, strict=False)
    }
    files = tree(campaign=None, prompt=None, **texts)
    repository, findings = read(files)
    assert findings == ()
    assert len(repository.campaigns) == len(declared)
    for finding in check_repository(repository):
        assert finding.code in CODES
        assert finding.message.isprintable()
        assert len(str(finding)) < 1500
        lines = files[finding.place.file].decode().splitlines()
        assert finding.place.column <= len(lines[finding.place.line - 1]) + 1


def test_a_range_of_more_digits_than_python_reads_is_a_finding():
    (finding,) = check(tree(campaign=campaign(('"1-20"', f'"1-{"9" * 5000}"'))))
    assert finding.code == "BP403"
    assert len(finding.message) < 100


# ── many campaigns ──


def multiply(make, number: int = 1000):
    """The valid repository with `number` campaigns, each as `make` changes the valid one."""
    repository, _ = read(tree())
    one = repository.campaigns["proc7"]
    made = {
        f"c{index:04}": Declared(make(replace(one.campaign, name=f"c{index:04}"), index), one.document)
        for index in range(number)
    }
    return replace(repository, campaigns=made)


def shift(chosen, by: int):
    selector = replace(chosen.selectors[0], ranges=(RunRange(by, by + 9),), exclude=())
    return replace(chosen, selectors=(selector,))


@pytest.mark.slow
def test_a_thousand_campaigns_are_compared_by_arithmetic():
    repository = multiply(lambda one, index: shift(one, 1000 * index + (5 - 1000) * (index == 700)))
    start = time.process_time()
    findings = [one for rule in RULES if "common" in rule.__name__ for one in rule(repository)]
    assert time.process_time() - start < 20
    assert [finding.code for finding in findings] == ["BP603"]
    assert "c0699" in findings[0].message


@pytest.mark.slow
def test_a_thousand_campaigns_that_supersede_one_another_are_quick():
    def follow(one, index):
        return replace(shift(one, 1), supersedes=(f"c{index - 1:04}",) if index else ())

    repository = multiply(follow)
    start = time.process_time()
    findings = [one for rule in RULES if "common" in rule.__name__ for one in rule(repository)]
    assert findings == []
    assert time.process_time() - start < 40
