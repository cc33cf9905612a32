"""The house itself: who imports whom, what files are called, how long they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("schemas", "renderer", "reconciler", "ci")
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "core"}
MODULES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by relative path"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_go_back_up_the_list(room):
    below = ROOMS[ROOMS.index(room) + 1 :]
    for path in (ROOT / room).rglob("*.py"):
        wrong = {name for name in imports(path) if name.split(".")[0] in below}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_no_cycles_between_modules():
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in MODULES
    }
    graph = {
        name: {other for other in imports(path) if other in names and other != name}
        for name, path in names.items()
    }
    # a package's own __init__ gathers what its modules offer; they do not look back at it
    while leaves := [name for name, needs in graph.items() if not needs]:
        for leaf in leaves:
            del graph[leaf]
        for needs in graph.values():
            needs.difference_update(leaves)
    assert not graph, f"cycle among {sorted(graph)}"


def test_engines_do_not_import_one_another():
    engines = ROOT / "reconciler" / "engines"
    for path in engines.glob("[a-z]*.py"):
        assert not {name for name in imports(path) if name.startswith("reconciler.engines")}


def test_the_pure_core_reaches_for_nothing():
    core = [
        *(f"ci/approvals/{name}.py" for name in ("dossier", "signature", "text", "verdict")),
        "ci/draft.py",
        "reconciler/campaign_diff.py",
        "reconciler/differences.py",
        "reconciler/plan.py",
        "reconciler/planning.py",
        "reconciler/provenance.py",
        "renderer/fingerprint.py",
        "renderer/jobs.py",
        "renderer/logs.py",
        "renderer/payloads.py",
        "renderer/units.py",
    ]
    core += [
        f"schemas/{name}.py"
        for name in (
            *("campaign", "canonical", "cut", "document", "lock", "repository", "runs"),
            *("policy", "retirement", "roles", "scopes", "signers", "statement", "wire"),
        )
    ]
    core += [str(path.relative_to(ROOT)) for path in (ROOT / "schemas" / "rules").glob("*.py")]
    outside = {"os", "time", "sqlalchemy", "git", "subprocess", "socket", "urllib", "random", "secrets"}
    for name in core:
        reached = {item.split(".")[0] for item in imports(ROOT / name)} & outside
        assert not reached, f"{name} imports {sorted(reached)}"
        assert "datetime.now" not in (ROOT / name).read_text()


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
