"""The public skim campaigns of b2skim become manifests that check; where its files contradict each other, that is told."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest

from ci.changes.skim_import import Choices, Sources, import_skims, read_registry
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import State, opened
from reconciler.model.run import File, Run
from reconciler.run_catalogue.file_register import import_files
from reconciler.run_catalogue.run_import import import_runs
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.json_schema.validation import load_schema, validate
from schemas.manifest.runs import parse_ranges
from schemas.repository import read_repository
from schemas.rules import check_repository
from schemas.yaml.document import read_yaml
from tests.support.inputs.planted_manifests import dump, payloads, reach
from tests.support.worlds.builders import snapshot

ROOT = Path(__file__).parents[2]
CHOICES = ("--global-tag", "data_proc16", "--release", "light-2305-korat", "--experiments", "proc16=7-8,10")
WRITTEN = [
    "productions/campaigns/PromptRel8_hadron_skims/campaign.yaml",
    "productions/campaigns/proc16_hadron_skims/campaign.yaml",
    "productions/skims/flaggedSkim.yaml",
]

DEFINITIONS = "f_charm_p1: [DstToD0Pi_D0ToHpJm, LambdacTopHpJm]\nf_low: [TwoTrackLeptonsForLuminosity]\n"
INFO = """\
f_charm_p1: {HLT: hadron, MCType: Main, GT: [analysis]}
f_low: {HLT: all, GT: []}
GT: {analysis: analysis_tools_light-2305-korat}
release: light-2305-korat
campaign: {proc16: [proc16], MC16rd: [MC16rd]}
"""
REGISTRY = """\
import os
os.mkdir("executed")
_RegisteredSkims = [
    ("17240100", "charm", "DstToD0Pi_D0ToHpJm"),  # D* -> D0
    ("17230600", "charm", "LambdacTopHpJm"),
    ("77000100", "flagged", "f_charm_p1"),
    ("78000100", "flagged", "f_low"),
    ("18530100", "lowMulti", "TwoTrackLeptonsForLuminosity"),
]
"""


@pytest.fixture
def checkout(tmp_path):
    """This repository's productions, with what the campaigns need beside the files of b2skim."""
    shutil.copytree(ROOT / "productions", tmp_path / "productions")
    with (tmp_path / "productions/releases.yaml").open("a") as stream:
        stream.write('  light-2305-korat: {date: "2023-05-31"}\n')
    for tag in ("data_proc16", "analysis_tools_light-2305-korat"):
        (tmp_path / f"productions/global-tags/{tag}.iov").write_text(snapshot(tag))
    return tmp_path


@pytest.fixture
def public(shared_data, tmp_path):
    """The public files, and a stand-in for the registry: true names, invented codes."""
    folder = shared_data / "belle2/production"
    files = [folder / f"{name}.yaml" for name in ("flaggedSkim", "infoSkim", "collections")]
    document, _ = read_yaml("flaggedSkim.yaml", files[0].read_bytes())
    known = {
        "DstToD0Pi_D0ToHpJm": ("17240100", "charm"),
        "TwoTrackLeptonsForLuminosity": ("18530100", "lowMulti"),
    }
    names = sorted({*document.data, *(one for names in document.data.values() for one in names)})
    rows = [
        (*known.get(name, (str(90000000 + number), "stand_in")), name) for number, name in enumerate(names)
    ]
    (tmp_path / "registry.py").write_text(f"_RegisteredSkims = {rows}\n")
    return [*map(str, files), "--registry", str(tmp_path / "registry.py")]


def call(checkout, capsys, *words):
    code = run(["--root", str(checkout), *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def list_files(checkout):
    return {path: path.read_bytes() for path in (checkout / "productions").rglob("*") if path.is_file()}


def test_what_the_public_files_contradict_is_told_with_its_place(checkout, public, capsys):
    before = list_files(checkout)
    code, out, err = call(checkout, capsys, "import-b2skim", *public, *CHOICES)
    assert code == Exit.FINDINGS
    assert out.split() == WRITTEN
    findings = [line for line in err.splitlines() if "BP" in line]
    assert [finding.rpartition("/production/infoSkim.yaml:")[0] != "" for finding in findings] == [True, True]
    assert "infoSkim.yaml:31:1: BP901 `f_bhadronic_p3` is described here" in findings[0]
    assert "infoSkim.yaml:36:1: BP901 `f_bhadronic_p4` is described here" in findings[1]
    assert "14 collections of simulated data" in err
    assert (
        "no collection of all is listed, so these are left out: f_SLME_p1, f_EWP_p1, f_quarkonium_p1" in err
    )
    assert list_files(checkout) == before


@pytest.mark.slow
def test_the_public_campaigns_become_manifests_that_check_resolve_and_render(
    checkout, public, capsys, tmp_path
):
    assert call(checkout, capsys, "import-b2skim", *public, *CHOICES, "--write")[0] == Exit.PARTLY
    assert call(checkout, capsys, "check")[:2] == (Exit.FINE, "")
    menu = (checkout / WRITTEN[2]).read_text()
    assert "f_bhadronic_p2:" in menu
    assert "f_bhadronic_p3" not in menu
    assert "f_tau_p1" not in menu, "nothing reads it"
    prompt = (checkout / WRITTEN[0]).read_text()
    assert [f"experiment: {number}," in prompt for number in (29, 30, 35, 36)] == [False, True, True, False]
    folder = "/belle/Data/release-06-00-08/DB00002392/proc13/prod00029531/e0030/4S/r00005/mdst"
    with opened(State(checkout / ".b2prod")) as engine:
        import_runs(engine, [Run(number, 5, "physics", energy="4S") for number in (7, 8, 10, *range(30, 36))])
        import_files(engine, [File(30, 5, "mdst", "a.root", f"{folder}/a.root", 1, "adler32:00")])
    assert call(checkout, capsys, "resolve", "PromptRel8_hadron_skims")[0] == Exit.FINE
    assert call(checkout, capsys, "plan", "PromptRel8_hadron_skims")[0] == Exit.FINE
    words = ("render", "PromptRel8_hadron_skims", "--format", "gb2", "-o", tmp_path / "out")
    assert call(checkout, capsys, *words)[0] == Exit.FINE
    requests = [json.loads(file.read_text()) for file in (tmp_path / "out").rglob("*.json")]
    described = [request["DataDescription"] for request in requests if "DataDescription" in request]
    assert {one[""] for (one,) in described} == {
        "f_TDCPV_p1",
        "f_TDCPV_p2",
        "f_bhadronic_p1",
        "f_bhadronic_p2",
    }
    assert all(one["DataLevel"] == "mdst" and one["SkimDecayMode"].startswith("9") for (one,) in described)


@pytest.mark.slow
def test_a_second_time_nothing_changes_and_another_file_is_never_overwritten(
    checkout, public, capsys, tmp_path
):
    words = ("import-b2skim", *public, *CHOICES, "--write")
    call(checkout, capsys, *words)
    before = list_files(checkout)
    code, out, _ = call(checkout, capsys, *words)
    assert code == Exit.PARTLY
    assert out.count("is there already") == 2, "the menu has nothing to add"
    assert list_files(checkout) == before
    flags = tmp_path / "flaggedSkim.yaml"
    flags.write_text(Path(public[0]).read_text().replace("  - TDCPV_klong\n", ""))
    code, _, err = call(checkout, capsys, words[0], flags, *words[2:])
    assert code == Exit.USAGE, "without the skim the manifest would be another"
    assert "BP903 `f_TDCPV_p2` combines other skims on the menu" in err
    manifest = checkout / WRITTEN[1]
    manifest.write_text(manifest.read_text() + "# mine\n")
    before = list_files(checkout)
    code, _, err = call(checkout, capsys, *words)
    assert code == Exit.USAGE
    assert f"{WRITTEN[1]} is there already, and says something else" in err
    assert list_files(checkout) == before


@pytest.fixture
def small(checkout, capsys, monkeypatch):
    """Imports small files, parts of which are replaced."""
    monkeypatch.chdir(checkout)

    def call_small(*words, definitions=DEFINITIONS, info=INFO, registry=REGISTRY):
        texts = {"flags.yaml": definitions, "info.yaml": info, "registry.py": registry}
        for name, text in texts.items():
            Path(name).write_text(text)
        options = ("--global-tag", "data_proc16", "--registry", "registry.py", "--experiments", "proc16=7")
        return call(checkout, capsys, "import-b2skim", "flags.yaml", "info.yaml", *options, *words)

    return call_small


def test_streams_and_further_tags_make_campaigns_of_their_own(small, checkout):
    code, out, _ = small("--write")
    assert code == Exit.FINE
    assert out.split() == [
        "productions/campaigns/proc16_all_skims/campaign.yaml",
        "productions/campaigns/proc16_hadron_skims_analysis/campaign.yaml",
        "productions/skims/flags.yaml",
    ]
    manifest = (checkout / out.split()[1]).read_text()
    assert manifest.index("analysis_tools_light-2305-korat") < manifest.index("data_proc16")
    menu = (checkout / out.split()[2]).read_text()
    assert "  LambdacTopHpJm:" in menu
    assert "  DstToD0Pi_D0ToHpJm:" not in menu, "it is on the menu of this repository"
    assert not (checkout / "executed").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"info": INFO.replace("f_low: {", "f_lwo: {")}, "info.yaml:2:1: BP901 `f_lwo` is described here"),
        ({"info": INFO.replace("f_low: {", "f_lwo: {")}, "flags.yaml:2:1: BP901 `f_low` is defined here"),
        (
            {"info": INFO.replace("[analysis]", "[PID]")},
            "info.yaml:1:46: BP901 `f_charm_p1` needs the global tag",
        ),
        (
            {"info": INFO.replace("light-2305-korat\nc", "build-light\nc")},
            "info.yaml:4:10: BP902 `build-light`",
        ),
        ({"info": INFO.replace("HLT: all", "HLT: some")}, "info.yaml:2:14: BP205 `HLT` cannot be `some`"),
        ({"info": INFO.replace("GT: []}", "GTs: []}")}, "info.yaml:2:19: BP201 unknown key `GTs`"),
        (
            {"definitions": DEFINITIONS.replace("LambdacTop", "LambdacTpo")},
            "flags.yaml:1:34: BP903 `LambdacTpoHpJm`",
        ),
        (
            {"definitions": DEFINITIONS.replace("f_low", "f_" + 24 * "x")},
            "BP902 `f_xxxxxxxxxxxxxxxxxxxxxxxx` is too long",
        ),
        ({"definitions": DEFINITIONS.replace("LambdacTopHpJm", "'x: y'")}, "flags.yaml:1:34: BP2"),
        (
            {"registry": REGISTRY.replace("17240100", "17240101")},
            "has the code 17240101 in the registry, and 17240100",
        ),
        ({"registry": "nothing = []"}, "registry.py is not a registry of skims"),
        ({"registry": "("}, "registry.py is not a registry of skims"),
    ],
)
def test_what_is_wrong_is_told_and_left_out(small, change, said):
    code, _, err = small(**change)
    assert code == (Exit.USAGE if "registry of skims" in said else Exit.FINDINGS)
    assert said in err


def test_what_would_not_check_is_not_written(small, checkout):
    before = list_files(checkout)
    code, _, err = small("--site", "grdi", "--write")
    assert code == Exit.FINDINGS
    assert "proc16_all_skims/campaign.yaml" in err
    assert "BP506 there is no site `grdi`" in err
    assert list_files(checkout) == before


@pytest.mark.parametrize("option", ["--site", "--layout", "--release", "--global-tag"])
def test_options_are_no_way_into_a_manifest(small, checkout, option):
    before = list_files(checkout)
    code, _, err = small(option, "grid\nkind: reprocessing", "--write")
    assert code in (Exit.USAGE, Exit.FINDINGS)
    assert "Traceback" not in err
    assert list_files(checkout) == before


def test_without_collections_experiments_are_asked_for(checkout, capsys, small):
    small()
    words = (
        "import-b2skim",
        "flags.yaml",
        "info.yaml",
        "--global-tag",
        "data_proc16",
        "--registry",
        "registry.py",
    )
    code, _, err = call(checkout, capsys, *words)
    assert code == Exit.FINDINGS
    assert "info.yaml:5:12: BP902 it is not said which experiments proc16 is of" in err
    assert call(checkout, capsys, *words, "--experiments", "proc16")[0] == Exit.USAGE


def test_the_registry_is_read_as_data():
    assert read_registry(REGISTRY)["LambdacTopHpJm"].code == "17230600"
    with pytest.raises(ValueError, match="no list"):
        read_registry('_RegisteredSkims = [("1724", "charm", "x")]')


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        ("info", "release"),
        ("info", "GT", "analysis"),
        ("info", "campaign", "proc16", 0),
        ("info", "f_low", "HLT"),
        ("info", "f_low", "GT", 0),
        ("definitions", "f_charm_p1", 0),
        ("collections", "group", 0),
    ],
)
def test_strings_that_attack_reach_no_file(shared_data, checkout, path):
    """A payload in a file of b2skim is refused, or what would be written is a manifest that checks and means the same."""
    tree, _ = read_tree(checkout)
    repository, _ = read_repository(tree, load_templates())
    registry = read_registry(REGISTRY)
    texts = {"definitions": DEFINITIONS, "info": INFO, "collections": "group: [proc16_4S_had_v1]\n"}
    base = {name: read_yaml(name, text.encode())[0].data for name, text in texts.items()}
    experiments = {"proc16": parse_ranges("7")[0]}
    choices = Choices("flags", ("data_proc16",), "grid", "plain", 100, experiments=experiments)
    whole = import_skims(Sources(*read_sources(base), registry), choices, repository)
    assert not whole.findings
    written, seen = set(), [{}]
    for payload in [*payloads(shared_data), "'; import os", "x\ny: z", "\\", "\u2028", "\0", "a\n# TODO: b"]:
        data = copy.deepcopy(base)
        data["info"]["f_low"]["GT"] = ["analysis"]
        reach(data, path[:-1])[path[-1]] = payload
        documents = read_sources(data)
        if documents is None:
            continue
        made = import_skims(Sources(*documents, registry), choices, repository)
        if made.files in seen:
            continue
        seen.append(made.files)
        files = {file: text.encode() for file, text in made.files.items()}
        again, findings = read_repository({**tree, **files}, load_templates())
        assert {one.code for one in (*findings, *check_repository(again))} <= {"BP501", "BP502"}, payload
        written.update(made.files)
    assert {file.replace("_analysis", "") for file in written} <= {
        file.replace("_analysis", "") for file in whole.files
    }


def read_sources(data):
    """The documents of the values of the three files; None where one is refused."""
    documents = []
    for name, value in data.items():
        document, findings = read_yaml(name, dump(value).text)
        if findings or validate(document, load_schema(f"b2skim_{name}")):
            return None
        documents.append(document)
    return documents
