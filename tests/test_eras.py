"""Every template, held against the table of what basf2 offered in its era (renderer/templates/eras.yaml)."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest

from renderer.steering import digest_steering, load_eras, load_templates, render_steering

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = load_templates()
ERAS = load_eras()
STANDARD = {"json", "sys"}
"""Modules of Python that steering scripts use."""
OWN = {"Belle2", "basf2.Module", "basf2.statistics", "basf2.AfterConditionPath.CONTINUE", "basf2.conditions"}
"""Names of basf2 that are no functions."""


def render(template, extreme=False):
    """The script with default settings, or with the last of the allowed values and all members of lists."""
    settings = {
        one.name: (one.values if isinstance(one.default, tuple) else one.values[-1])
        for one in template.parameters
        if extreme and one.values
    }
    return ast.parse(render_steering(template, template.settings(settings)))


def name(node):
    """The dotted name of an expression, or None."""
    if isinstance(node, ast.Attribute):
        root = name(node.value)
        return None if root is None else f"{root}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def imported(tree):
    """Names that are imported, with what they stand for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {one.asname or one.name: one.name for one in node.names}
    return found


def calls(tree):
    """Every call of what is imported: its full name and the node."""
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (spelled := name(node.func)):
            root, _, rest = spelled.partition(".")
            if root in names:
                yield f"{names[root]}.{rest}".rstrip("."), node


@pytest.fixture(params=sorted(TEMPLATES))
def template(request):
    return TEMPLATES[request.param]


@pytest.mark.parametrize("extreme", [False, True], ids=["default", "extreme"])
def test_what_is_called_exists_in_every_era_that_the_template_serves(template, extreme):
    assert template.eras
    tree = render(template, extreme)
    for called, node in calls(tree):
        if called.split(".")[0] in STANDARD or called.startswith("ROOT.Belle2."):
            continue
        for era in template.eras:
            assert called in era.functions, f"era {era.name} has no {called}"
            allowed = era.functions[called]
            assert len(node.args) <= len(allowed)
            named = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
            assert named <= set(allowed), f"{called} of era {era.name} takes no {named - set(allowed)}"


def test_modules_that_are_added_and_their_parameters_are_in_the_table(template):
    added = [
        node
        for node in ast.walk(render(template))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_module"
    ]
    assert added
    for node in added:
        if isinstance(node.args[0], ast.Constant):
            for era in template.eras:
                named = {keyword.arg for keyword in node.keywords}
                assert named <= set(era.modules[node.args[0].value])


def test_nothing_is_used_that_is_not_declared(template):
    tree = render(template)
    declared = {*dir(builtins), *imported(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            declared.add(node.id)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            declared.add(node.name)
        elif isinstance(node, ast.arg):
            declared.add(node.arg)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert used <= declared
    basf2 = {
        spelled
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (spelled := name(node)) and spelled.startswith("basf2.")
    }
    for era in template.eras:
        assert {one for one in basf2 if not any(known.startswith(f"{one}.") for known in OWN)} <= {
            *era.functions,
            *OWN,
        }


def test_components_are_those_of_the_era(template):
    for era in template.eras:
        for parameter in template.parameters:
            if parameter.name == "components":
                assert parameter.values == era.components


def test_names_of_files_tags_and_seed_come_from_the_job_alone(template):
    tree = render(template)
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [
        text for text in texts if ".root" in text or "/" in text or "data_" in text.replace("data_taking", "")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("filename", "outputFileName", "OutputFileName"):
            assert ast.unparse(node.value) == "output['file']"
        elif isinstance(node, ast.keyword) and node.arg == "inputFileNames":
            assert ast.unparse(node.value) == "[item['path'] for item in job['inputs']]"
        elif isinstance(node, ast.keyword) and node.arg == "mc":
            assert node.value.value is False
        elif isinstance(node, ast.Call) and name(node.func) == "basf2.set_random_seed":
            assert ast.unparse(node.args[0]) == "job['seed']"


def test_everything_in_the_table_is_used():
    functions = {
        (era.name, called)
        for one in TEMPLATES.values()
        for era in one.eras
        for called, _ in calls(render(one))
    }
    for era in ERAS.values():
        assert {called for called in era.functions if (era.name, called) not in functions} == set()


@pytest.mark.parametrize("name", ["cdst_to_mdst/3", "combined_skim/1", "offline_skim/1"])
def test_a_render_is_the_one_that_was_reviewed(name):
    rendered = render_steering(TEMPLATES[name], TEMPLATES[name].settings({}))
    assert rendered == (GOLDEN / f"{name.replace('/', '-')}.py").read_text()


def test_templates_are_immutable():
    """A changed script restates history: what is meant as a change is a new version."""
    kept = dict(line.split() for line in (GOLDEN / "templates").read_text().splitlines())
    today = {key: digest_steering(render_steering(one, one.settings({}))) for key, one in TEMPLATES.items()}
    assert today == kept
