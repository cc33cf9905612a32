"""Facts are extracted from sources: by name, with defaults and places, from small ones that are made up here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.yaml.document import read_yaml
from tests.basf2_facts.extract import read_exposed, read_module, read_python

EXTRACT = Path(__file__).parents[1] / "basf2_facts" / "extract.py"

PYTHON = '''\
import basf2


def add_unpackers(path, components=None, writeKLMDigitRaws=False):
    """Adds ("modules")."""


class Outer:
    def __init__(self, name, *, depth=3, label="a, b", **options):
        pass

    def __call__(self, path, *more):
        pass


def plain():
    pass
'''

EXPOSED = """\
void expose()
{
  def("use", &first);
  def("use", &use, (bp::arg("filename"), bp::arg("directory")="", bp::arg("level")=LogConfig::c_Warning,
                    bp::arg("chunks") = 3));
  def("modules", &getModules);
  def("named", &named, args("path", "value"));
  def("B2FATAL", &fatal);
}
"""

MODULE = """\
#include <framework/Made.h>
REG_MODULE(Made);

MadeModule::MadeModule()
{
  setDescription(R"DOC(Says (nothing), or "this".)DOC");
  addParam("names", m_names,
           "A list; see `other(name)`, too.");
  addParam("mode", m_mode, "Text", string("or"));
  addParam("depth", m_depth, "A number", 3u);
  addParam("useDB", m_useDB, "A flag", m_useDB);
  addParam("limit", m_limit, "Perhaps a number", m_limit);
  addParam("pair", m_pair, "Two", {0, 1});
  addParam(c_SteerBranchNames[0], m_branches, "Branches", emptyvector);
}
"""

HEADER = """\
class MadeModule {
  std::vector<std::string> m_names;
  bool m_useDB{true};
  std::optional<int> m_limit;
};
"""

PLAIN = "// says nothing\n\nREG_MODULE(EventT0Combiner);\n"

FILES = {
    "rawdata/scripts/rawdata.py": PYTHON,
    "framework/core/src/Path.cc": EXPOSED,
    "calibration/modules/TriggerSkim/src/TriggerSkimModule.cc": MODULE.replace("Made", "TriggerSkim"),
    "calibration/modules/TriggerSkim/include/TriggerSkimModule.h": HEADER,
    "reconstruction/modules/EventT0Combiner/src/EventT0Combiner.cc": PLAIN,
}


@pytest.mark.parametrize(
    ("name", "line", "parameters"),
    [
        ("add_unpackers", 4, {"path": None, "components": "None", "writeKLMDigitRaws": "False"}),
        ("Outer", 9, {"name": None, "depth": "3", "label": "'a, b'", "**options": None}),
        ("Outer.__call__", 12, {"path": None, "*more": None}),
        ("plain", 16, {}),
    ],
)
def test_functions_of_python_are_read_by_their_syntax(name, line, parameters):
    assert read_python(PYTHON, name) == (line, parameters)


def test_a_function_that_is_not_there_is_told():
    with pytest.raises(StopIteration):
        read_python(PYTHON, "add_packers")
    with pytest.raises(ValueError, match="not enough values"):
        read_exposed(EXPOSED, "unuse")


@pytest.mark.parametrize(
    ("name", "line", "parameters"),
    [
        ("use", 4, {"filename": None, "directory": None, "level": "c_Warning", "chunks": "3"}),
        ("modules", 6, {}),
        ("named", 7, {"path": None, "value": None}),
        ("B2FATAL", 8, {"*args": None}),
    ],
)
def test_functions_that_cpp_exposes_are_read_by_their_names(name, line, parameters):
    assert read_exposed(EXPOSED, name) == (line, parameters)


def test_parameters_of_modules_have_their_defaults():
    assert list(read_module(MODULE, HEADER)) == [
        ("names", 7, None),
        ("mode", 9, "'or'"),
        ("depth", 10, "3"),
        ("useDB", 11, "True"),
        ("limit", 12, "None"),
        ("pair", 13, "<{0, 1}>"),
        ("branchNames", 14, "<emptyvector>"),
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with those files, as a bare directory of objects and a commit."""
    folder = tmp_path_factory.mktemp("sources")

    def git(*words):
        command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git("add", "-A")
    git("commit", "-qm", "Sources")
    return str(folder / ".git"), git("rev-parse", "HEAD")


def extract(*words):
    done = subprocess.run([sys.executable, str(EXTRACT), *words], capture_output=True, text=True, check=True)
    document, findings = read_yaml("extracted", done.stdout.encode())
    assert not findings
    return document.data


def test_tables_of_a_commit_have_what_is_there_with_its_place(repository):
    found = extract(*repository, "made-up")
    assert found["functions"] == {
        "rawdata.add_unpackers": {
            "at": "rawdata/scripts/rawdata.py:4",
            "from": "made-up",
            "parameters": {"path": None, "components": "None", "writeKLMDigitRaws": "False"},
        },
        "basf2.Path.modules": {"at": "framework/core/src/Path.cc:6", "from": "made-up", "parameters": {}},
    }
    assert found["modules"].keys() == {"TriggerSkim", "EventT0Combiner"}
    assert found["modules"]["TriggerSkim"]["at"].endswith("TriggerSkimModule.cc:7")
    assert found["modules"]["TriggerSkim"]["parameters"]["useDB"] == "True"
    assert found["modules"]["EventT0Combiner"] == {
        "at": "reconstruction/modules/EventT0Combiner/src/EventT0Combiner.cc:3",
        "from": "made-up",
        "parameters": {},
    }
