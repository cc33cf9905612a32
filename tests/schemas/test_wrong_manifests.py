"""Wrong manifests: a corpus of golden findings, mutants of all that is valid, and strings that attack.

A folder of `tests/wrong` holds the files in which a wrong tree differs from the valid one of `tests/support/worlds/builders.py`, and
`expected`: comments, `rows` with the rows of the table of wrong manifests that it covers, `remove` with a file that the
wrong tree lacks, and then the findings as b2prod prints them.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.findings.codes import CODES
from schemas.json_schema.validation import load_schema, validate
from schemas.manifest.campaign import read_campaign
from schemas.repository import Declared, read_repository
from schemas.rules import check_repository
from schemas.skims.cut import parse_cut
from schemas.yaml.document import read_yaml
from tests.support.inputs.planted_manifests import FIELDS, Dump, dump, payloads, plant, reach
from tests.support.tables.codes import list_codes
from tests.support.worlds import builders

ROOT = Path(__file__).parents[2]
WRONG = Path(__file__).parents[1] / "wrong"

ROWS = list_codes("W")
NOT_YET = {
    "W22": "no key of any schema has been retired; the mechanism is tested in test_validation.py",
    "W35": "needs the run catalogue: tests/reconciler/planning/test_resolving.py",
    "W39": "needs the runs that a campaign has: `b2prod resolve`",
    "W57": "needs the run catalogue: tests/reconciler/planning/test_resolving.py",
    "W58": "needs the ledger: tests/reconciler/planning/test_resolving.py",
    "W63": "needs the difference of a pull request: tests/ci/test_gates.py",
}
"""Rows of the table that no file of the repository can show, with the reason."""


@dataclass(frozen=True, eq=False)
class Case:
    folder: Path
    rows: tuple[str, ...]
    files: dict[str, bytes]
    expected: list[str]


def read_case(folder: Path) -> Case:
    files, rows, expected = builders.tree(), [], []
    for line in (folder / "expected").read_text("utf-8").splitlines():
        word, _, rest = line.partition(" ")
        if word == "rows":
            rows += rest.split()
        elif word == "remove":
            del files[rest]
        elif word != "#":
            expected.append(line)
    for path in folder.rglob("*"):
        if path.is_file() and path != folder / "expected":
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return Case(folder, tuple(rows), files, expected)


CASES = [read_case(folder) for folder in sorted(WRONG.iterdir())]


@cache
def check_case(case):
    return builders.check(case.files)


# ── the corpus ──


def test_valid_tree_has_no_findings():
    assert builders.check(builders.tree()) == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder.name)
def test_corpus(case):
    found = check_case(case)
    assert [str(finding) for finding in found] == case.expected
    assert case.folder.name[:5] in {finding.code for finding in found}


def test_every_row_is_covered_or_listed():
    covered = {row for case in CASES for row in case.rows}
    assert covered <= set(ROWS)
    assert covered.isdisjoint(NOT_YET), "a row that is covered needs no excuse"
    assert [row for row in ROWS if row not in covered and row not in NOT_YET] == []


def test_findings_of_the_corpus_say_where_and_what_to_write():
    for case in CASES:
        for finding in check_case(case):
            assert finding.code in CODES
            assert finding.message
            assert "Traceback" not in finding.message
            lines = case.files.get(finding.place.file, b"").splitlines()
            assert 1 <= finding.place.line <= max(1, len(lines) + 1)


def test_all_codes_that_need_only_the_repository_are_in_the_corpus():
    elsewhere = {
        "BP209": "no key has been retired",
        "BP406": "run catalogue",
        "BP408": "registered files",
        "BP409": "registered files",
        "BP410": "registered files",
        "BP411": "ledger",
        "BP503": "run catalogue",
        "BP526": "what a calibration returns",
        "BP606": "run catalogue",
        "BP607": "ledger",
        "BP609": "pull request",
        "BP610": "pull request",
        "BP611": "pull request",
        "BP612": "pull request",
        "BP705": "pull request",
        "BP901": "files of b2skim",
        "BP902": "files of b2skim",
        "BP903": "files of b2skim",
    }
    shown = {line.split()[1] for case in CASES for line in case.expected}
    assert sorted(set(CODES) - shown) == sorted(elsewhere)


def test_w27_links_are_not_followed(tmp_path):
    for file, content in builders.tree().items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "productions/sites/kekcc.yaml").symlink_to("/etc/passwd")
    (tmp_path / "productions/campaigns/linked").symlink_to(tmp_path / "productions/campaigns/proc7")
    files, findings = read_tree(tmp_path)
    assert [(finding.place.file, finding.code) for finding in findings] == [
        ("productions/campaigns/linked", "BP304"),
        ("productions/sites/kekcc.yaml", "BP304"),
    ]
    assert builders.check(files) == ()


# ── mutants ──

NAMES = {
    ("steps",),
    ("skims",),
    ("layouts",),
    ("releases",),
    ("roles",),
    ("queues",),
    ("quantities",),
    ("stages",),
    ("buckets",),
}
"""Mappings whose keys are names that an author chooses."""
OPTIONAL = {
    *("ticket", "contact", "state", "description", "supersedes", "reuse", "restate"),
    *("exclude", "types", "until", "step", "parameters", "split", "max_restate", "max_attempts"),
    *(
        "overrides",
        "testing_payloads",
        "payloads",
        "scan",
        "additional_branches",
        "compare_with",
        "historic",
        "runs_per_request",
    ),
    *("after", "complete", "due", "sign", "iterations", "caf", "buckets"),
    *("fixed_in",),
    *("kinds", "levels", "versions", "after_days", "quarantine_days", "sample", "tape", "disk"),
    *("archive", "recall", "checksum", "in_flight"),
    *("branch", "validity_days", "touch", "threshold", "retirements", "exemptions", "delegations"),
    *("recommended_tag", "commit", "decision", "slots", "environment", "launchers", "queue"),
    *("holds_for", "of"),
    *("events", "retention", "run_retention", "stability", "luminosity", "event_size", "cpu_time"),
    *("branches", "paired", "histograms", "run_histograms", "checks", "quantities"),
    *(
        "queues",
        "batch",
        "account",
        "minutes",
        "cpu_minutes",
        "memory",
        "width",
        "running",
        "python",
        "options",
    ),
}
"""Keys that may be left out: there is a default, or nothing is said."""


def retype(value):
    return 7 if isinstance(value, str) else "seven"


def is_name(path) -> bool:
    return path[:-1] in NAMES or path[-2:-1] in (("parameters",), ("scan",), ("values",), ("inputs",))


def mutate(data, path):
    """Kind, text and the lines of which one must have a finding (none: any or no finding will do)."""
    key, whole = path[-1], dump(data)
    first, last = whole.spans[path]
    value = reach(data, path)

    def changed(change) -> Dump:
        mutant = copy.deepcopy(data)
        change(reach(mutant, path[:-1]))
        return dump(mutant)

    def put(new):
        return lambda parent: parent.__setitem__(key, new)

    def rename(parent):
        items = [(f"{one}x" if one == key else one, inner) for one, inner in parent.items()]
        parent.clear()
        parent.update(items)

    yield "rename", changed(rename).text, set() if is_name(path) else {first}
    yield "null", changed(put(None)).text, {first}
    yield "retype", changed(put(retype(value))).text, set() if key == "value" else {first}
    if isinstance(value, str | dict | list) and path[-2:-1] != ("parameters",):
        yield "empty", changed(put(type(value)())).text, {first}
    doubled = [*whole.lines[:last], *whole.lines[first - 1 : last], *whole.lines[last:]]
    yield "double", ("\n".join(doubled) + "\n").encode(), {last + 1}
    without = changed(lambda parent: parent.pop(key))
    if (
        is_name(path)
        or key in OPTIONAL
        or path[-2:-1] == ("holds_for",)
        or (key == "title" and path[:-2] in NAMES and path[0] != "layouts")
    ):
        yield "drop", without.text, set()
    else:
        at, end = without.spans.get(path[:-1], (1, 1))
        if key != "dataset":  # without one, a finding is at a key beside it that goes with it
            end = at + 1  # an item of a list is where its first key is
        yield "drop", without.text, {*range(at, end + 1)}


def schema_of(file: str) -> str | None:
    if file.endswith("/campaign.yaml"):
        return "campaign"
    folders = {"sites": "site", "skims": "skims", "retirements": "retirement"}
    folders |= {"validations": "validation", "schemes": "scheme", "known-issues": "known_issue"}
    for folder, schema in folders.items():
        if file.startswith(f"productions/{folder}/"):
            return schema
    named = ("layouts", "releases", "retention", "roles")
    return {f"productions/{name}.yaml": name for name in named}.get(file)


def judge(files, file, content, templates):
    """The lines with findings in one file of a tree whose other files are valid."""
    document, findings = read_yaml(file, content)
    if document is not None and not findings:
        findings = validate(document, load_schema(schema_of(file)))
    if not findings:
        repository, findings = read_repository({**files, file: content}, templates)
        findings = (*findings, *check_repository(repository))
    return {finding.place.line for finding in findings if finding.place.file == file}


def valid_files():
    own, _ = read_tree(ROOT)
    for files, templates in ((builders.tree(), builders.templates()), (own, load_templates())):
        for file in sorted(files):
            if schema_of(file):
                yield pytest.param(files, file, templates, id=f"{'own' if files is own else 'built'}-{file}")


@pytest.mark.slow
@pytest.mark.parametrize(("files", "file", "templates"), list(valid_files()))
def test_mutants(files, file, templates):
    document, _ = read_yaml(file, files[file])
    whole = dump(document.data)
    assert judge(files, file, whole.text, templates) == set(), "the text that is mutated must be valid"
    keys = [path for path in whole.spans if isinstance(path[-1], str)]
    if len(keys) > 60:  # many alike, as in a list of releases: each kind of key at its first and last
        kinds = {}
        for path in keys:
            kinds.setdefault((len(path), path[-1] if not is_name(path) else path[:-1]), []).append(path)
        keys = [path for alike in kinds.values() for path in (alike[0], alike[-1])]
    survivors = []
    for path in keys:
        for kind, content, lines in mutate(document.data, path):
            found = judge(files, file, content, templates)
            if lines and not lines & found:
                survivors.append((kind, path, sorted(lines), sorted(found)))
    assert survivors == []


# ── strings that attack ──


FREE = {
    "title",
    "tree",
    "override value",
    "restate reason",
    "override reason",
    "testing reason",
    "scan value",
    "scan reason",
}
"""Those that may be any text; scripts and paths never contain them."""
NAMED = {"override module", "override parameter", "scan module", "scan payload"}
"""Those that the schema holds to names; what has such a name is basf2's to know."""


@pytest.mark.slow
def test_payloads_in_every_string_of_a_campaign(shared_data):
    """A payload is refused with a finding on its line, or it is free text, and then read as it was written."""
    file, schema = builders.FILES["campaign"], load_schema("campaign")
    valid, _ = builders.read(builders.tree())
    base = valid.campaigns["proc7"].document
    strings = payloads(shared_data)
    assert len(strings) > 700
    inert = 0
    for payload in strings:
        everywhere = plant(base.data, FIELDS.values(), payload)
        document, findings = read_yaml(file, everywhere.text)
        if findings:
            lines = {finding.place.line for finding in findings}
            assert {everywhere.spans[path][0] for path in FIELDS.values()} <= lines, payload
            continue
        lines = {finding.place.line for finding in validate(document, schema)}
        accepted = [name for name, path in FIELDS.items() if everywhere.spans[path][0] not in lines]
        planted = plant(base.data, [FIELDS[name] for name in accepted], payload)
        document, _ = read_yaml(file, planted.text)
        declared = Declared(read_campaign("proc7", document), document)
        assert all(reach(document.data, FIELDS[name]) == payload for name in accepted)
        lines = {
            finding.place.line for finding in check_repository(replace(valid, campaigns={"proc7": declared}))
        }
        for name in accepted:
            free = name in FREE | NAMED or (name in {"ranges", "exclude"} and is_run(payload))
            assert free or planted.spans[FIELDS[name]][0] in lines, (name, payload)
        inert += 1
    assert inert > 300


def is_run(payload: str) -> bool:
    return re.fullmatch(r"0|[1-9][0-9]{0,7}", payload) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("site", ("storage",)),
        ("layouts", ("layouts", "plain", "folder")),
        ("releases", ("releases", "release-03-00-00", "recommended_tag")),
        ("skims", ("skims", "hlt_hadron", "cut")),
        ("skims", ("skims", "line_hadron", "line")),
    ],
)
def test_payloads_in_the_other_files(shared_data, name, path):
    """Paths, tags, cuts: a payload is refused, or is a plain path below its folder, a tag's name, a cut."""
    file = builders.FILES[name]
    alone = builders.tree(campaign=None, prompt=None)
    base, _ = read_yaml(file, alone[file])
    for payload in payloads(shared_data):
        data = copy.deepcopy(base.data)
        reach(data, path[:-1])[path[-1]] = payload
        content = dump(data).text
        document, findings = read_yaml(file, content)
        if (
            findings
            or validate(document, load_schema(schema_of(file)))
            or builders.check({**alone, file: content})
        ):
            continue
        if name == "skims":
            assert path[-1] == "cut"
            assert parse_cut(payload).text == payload
        else:
            assert re.fullmatch(r"/?[A-Za-z0-9_.+:-]+(/[A-Za-z0-9_.+-]+)*", payload)
            assert name == "releases" or ".." not in payload.split("/")
