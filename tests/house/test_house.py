"""The names and lengths of files and classes. `nox -s lint` checks which module imports which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "renderer", "reconciler", "ci")
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "core"}
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


FULL = 17
"""The largest number of modules in one folder."""


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_folder_fits_a_mind(folder):
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= FULL


def test_a_class_name_means_one_thing():
    """Exceptions with a private name (`_Wrong`) may exist in several modules."""
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_fits_a_mind(path):
    text = path.read_text()
    assert path.stem not in SAY_NOTHING
    assert len(text.splitlines()) <= 400
    assert ast.get_docstring(ast.parse(text)), "a module begins with what it is"


def test_no_shell_and_no_eval():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "os.system", "os.popen", "pickle.loads"}, (
                    f"{path}: {called}"
                )
                assert not any(word.arg == "shell" for word in node.keywords), f"{path}: {called}(shell=…)"


def list_imports(tree: ast.Module) -> set[str]:
    """The imports of a module at any place in it: modules, and names as `module.name`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def test_no_module_of_tests_imports_from_another():
    """What two test modules need is in `tests/support`, so that each test module can be read, moved and deleted alone."""
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in TESTS
        for name in list_imports(ast.parse(path.read_text()))
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    }
    assert wrong == set()
