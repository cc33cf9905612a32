"""Extracts facts from the sources of basf2 at a commit: names and defaults of parameters, with their places.

    python tests/basf2_facts/extract.py GIT_DIRECTORY COMMIT EVIDENCE

prints the tables `functions` and `modules` of one state as they stand in the files beside this one; EVIDENCE is the
name of the commit there. Facts only: no code of basf2 is kept. Python is read by its syntax tree; of C++ the calls of
`addParam` and the members' initialisers in the header, and the names in the calls that expose a function to Python.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PYTHON = {
    "reconstruction/scripts/reconstruction.py": {
        f"reconstruction.{name}": name
        for name in (
            "add_reconstruction",
            "add_cosmics_reconstruction",
            "add_mdst_output",
            "add_cdst_output",
            "prepare_cdst_analysis",
            "prepare_user_cdst_analysis",
        )
    },
    "rawdata/scripts/rawdata.py": {"rawdata.add_unpackers": "add_unpackers"},
    "mdst/scripts/mdst.py": {"mdst.add_mdst_output": "add_mdst_output"},
    "framework/scripts/basf2/core.py": {
        "basf2.create_path": "create_path",
        "basf2.process": "process",
        "basf2.Path.add_module": "_add_module",
    },
    "skim/scripts/skim/core.py": {
        f"skim.core.{name}": name
        for name in ("BaseSkim", "BaseSkim.__call__", "CombinedSkim", "CombinedSkim.__call__")
    },
    "skim/scripts/skim/registry.py": {
        f"skim.registry.Registry.{name}": f"SkimRegistryClass.{name}"
        for name in ("encode_skim_name", "get_skim_function")
    },
}
"""Functions of Python: what a script calls, and its name in the source."""
EXPOSED = {
    "framework/core/src/RandomNumbers.cc": {"basf2.set_random_seed": "set_random_seed"},
    "framework/database/src/Configuration.cc": {
        f"basf2.conditions.{name}": name for name in ("override_globaltags", "prepend_testing_payloads")
    },
    "framework/core/src/Module.cc": {
        f"basf2.Module.{name}": name
        for name in ("if_value", "return_value", "param", "name", "has_condition", "get_all_condition_paths")
    },
    "framework/core/src/Path.cc": {"basf2.Path.modules": "modules"},
    "framework/pybasf2/src/LogPythonInterface.cc": {"basf2.B2FATAL": "B2FATAL"},
}
"""Functions that C++ exposes to Python."""
VARIADIC = ("B2FATAL", "param")
"""Functions that take anything by position: a message of several parts, a name with a value or a dictionary."""
MODULES = (
    "framework/modules/rootio/src/RootInputModule.cc",
    "framework/modules/rootio/src/SeqRootInputModule.cc",
    "framework/modules/rootio/src/RootOutputModule.cc",
    "framework/modules/gearbox/src/GearboxModule.cc",
    "geometry/modules/src/GeometryModule.cc",
    "calibration/modules/TriggerSkim/src/TriggerSkimModule.cc",
    "reconstruction/modules/EventT0Combiner/src/EventT0Combiner.cc",
)
BRANCHES = {
    "c_SteerBranchNames": "branchNames",
    "c_SteerExcludeBranchNames": "excludeBranchNames",
    "c_SteerAdditionalBranchNames": "additionalBranchNames",
}
"""Names of parameters that stand in `framework/io/src/RootIOUtilities.cc`: for events; of the persistent tree with a suffix."""


def read_python(source: str, name: str) -> tuple[int, dict[str, str | None]]:
    """The line of a function, of a method as `Class.method`, or of a class (its `__init__`), and its parameters.

    A parameter maps to its default as source text, None where there is none; `self` is left out.

    Raises:
        LookupError: there is no such function.
    """
    found: ast.AST = ast.parse(source)
    for part in name.split("."):
        found = next(
            node
            for node in getattr(found, "body", ())
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part
        )
    if isinstance(found, ast.ClassDef):
        return read_python(source, f"{name}.__init__")
    assert isinstance(found, ast.FunctionDef)
    arguments = found.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [
        ast.unparse(one) for one in arguments.defaults
    ]
    parameters = {one.arg: value for one, value in zip(positional, defaults, strict=True)}
    if arguments.vararg:
        parameters[f"*{arguments.vararg.arg}"] = None
    for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameters[one.arg] = None if value is None else ast.unparse(value)
    if arguments.kwarg:
        parameters[f"**{arguments.kwarg.arg}"] = None
    parameters.pop("self", None)
    return found.lineno, parameters


def read_exposed(source: str, name: str) -> tuple[int, dict[str, str | None]]:
    """The line of the last call of boost::python that exposes `name`, and the parameters that it names.

    Raises:
        ValueError: nothing of that name is exposed.
    """
    *_, found = re.finditer(rf'def\(\s*"{name}"', source)
    text = source[found.end() : _find_end(source, found.end())]
    named = re.search(r'args?\(\s*((?:"\w+"\s*,?\s*)+)\)', text)
    parameters: dict[str, str | None] = {}
    if name in VARIADIC:
        parameters = {"*args": None}
    elif named and "bp::arg" not in text:
        parameters = dict.fromkeys(re.findall(r'"(\w+)"', named[1]))
    for one in re.finditer(r'bp::arg\("(\w+)"\)(?:\s*=\s*([\w:]+))?', text):
        parameters[one[1]] = None if one[2] is None else one[2].rpartition("::")[2]
    return source.count("\n", 0, found.start()) + 1, parameters


def read_module(source: str, header: str) -> Iterator[tuple[str, int, str | None]]:
    """The parameters of a module: name, line and default as Python text; None where it must be set."""
    for found in re.finditer(r"\baddParam\(", source):
        name, _, _, *default = _split_arguments(source[found.end() : _find_end(source, found.end())])
        branch, _, index = name.strip('"').partition("[")
        if branch in BRANCHES:
            branch = BRANCHES[branch] + ("Persistent" if index.startswith("1") else "")
        line = source.count("\n", 0, found.start()) + 1
        yield branch, line, _resolve(default[0], source, header) if default else None


def find_registration(source: str) -> int:
    """The line in which a module without parameters is registered."""
    return source.count("\n", 0, source.index("REG_MODULE(")) + 1


_QUOTED = r'R"(\w*)\(.*?\)\1"|"(?:[^"\\]|\\.)*"'


def _find_end(source: str, start: int) -> int:
    """Where the parenthesis closes that is open at `start`."""
    depth = 1
    for found in re.finditer(rf"{_QUOTED}|[()]", source[start:], re.DOTALL):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if not depth:
            return start + found.start()
    raise ValueError("a call does not end")


def _split_arguments(text: str) -> list[str]:
    """The arguments of a call."""
    arguments, depth, begin = [], 0, 0
    for found in re.finditer(rf"{_QUOTED}|[()\[\]{{}}<>,]", text, re.DOTALL):
        depth += {"(": 1, "[": 1, "{": 1, "<": 1}.get(found[0], -1 if found[0] in ")]}>" else 0)
        if found[0] == "," and not depth:
            arguments.append(text[begin : found.start()].strip())
            begin = found.end()
    return [*arguments, text[begin:].strip()]


def _resolve(text: str, source: str, header: str) -> str:
    """A default of C++ as Python text; as it stands, in angle brackets, where it is none of the simple ones."""
    if text in ("true", "false"):
        return text.title()
    if number := re.fullmatch(r"(?:int\()?(-?[0-9]+)[uUlL]*\)?", text):
        return number[1]
    if quoted := re.fullmatch(r'(?:(?:std::)?string\()?"([^"]*)"\)?', text):
        return repr(quoted[1])
    name = text.partition("[")[0]
    if text.startswith("{") or not re.fullmatch(r"\w+", name):
        return f"<{text}>"
    declared = re.search(
        rf"\b(\w+)(?:<[^;()=]*>)?\s+{name}\b\s*(?:\[[^\]]*\])?\s*(\{{.*?\}}|\(.*?\)|=[^;]*)?\s*;",
        header if name.startswith("m_") else source,
        re.DOTALL,
    )
    kind, value = (declared[1], (declared[2] or "").strip("={}() ")) if declared else ("", "")
    if kind == "vector" and (not value or '"' in value):
        return str(re.findall(r'"(\w*)"', value))
    if kind == "optional" or not value:
        return {"optional": "None", "map": "{}", "string": "''"}.get(kind, f"<{name}>")
    return _resolve(value, source, header)


def show(repository: str, commit: str, path: str) -> str | None:
    """The text of a file at a commit, or None where it is not there."""
    command = ["git", "--git-dir", repository, "show", f"{commit}:{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode() if done.returncode == 0 else None


def extract(repository: str, commit: str, evidence: str) -> Iterator[str]:
    """The lines of the tables."""
    yield "functions:"
    for readers, read in ((PYTHON, read_python), (EXPOSED, read_exposed)):
        for path, functions in readers.items():
            source = show(repository, commit, path)
            for called, name in functions.items() if source is not None else ():
                try:
                    line, parameters = read(source, name)
                except (StopIteration, ValueError):
                    continue
                yield f"  {called}:"
                yield f"    at: {path}:{line}"
                yield f"    from: {evidence}"
                yield f"    parameters: {_flow(parameters)}"
    yield "modules:"
    for path in MODULES:
        source = show(repository, commit, path)
        header = show(repository, commit, path.replace("/src/", "/include/").replace(".cc", ".h"))
        if source is None:
            continue
        rows = list(read_module(source, header or ""))
        yield f"  {Path(path).stem.removesuffix('Module')}:"
        yield f"    at: {path}:{rows[0][1] if rows else find_registration(source)}"
        yield f"    from: {evidence}"
        yield f"    parameters: {_flow({name: default for name, _, default in rows})}"


def _flow(parameters: dict[str, str | None]) -> str:
    items = (
        f"{_quote(key)}: {'null' if value is None else _quote(value)}" for key, value in parameters.items()
    )
    return "{" + ", ".join(items) + "}"


def _quote(text: str) -> str:
    return (
        text if re.fullmatch(r"[A-Za-z_]\w*", text) and text not in ("None", "True", "False") else f'"{text}"'
    )


if __name__ == "__main__":
    print("\n".join(extract(*sys.argv[1:])))
