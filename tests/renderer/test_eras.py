"""Every template, held against facts from the sources of basf2 (tests/basf2_facts), and against what it may name."""

from __future__ import annotations

import ast
import builtins
import copy
from functools import cache
from itertools import chain, takewhile
from pathlib import Path

import pytest

from renderer.steering import digest_steering, load_eras, load_templates, render_steering
from schemas.skims.global_tags import ROLES, takes_role
from schemas.yaml.document import read_yaml
from tests.support.doubles.basf2_calls import dotted, imported, judge
from tests.support.doubles.basf2_runs import FACTS, list_states, read_states

GOLDEN = Path(__file__).parents[1] / "golden"
TEMPLATES = load_templates()
CURRENT = {name: one for name, one in TEMPLATES.items() if one.superseded is None}
ERAS = load_eras()


@cache
def read_omissions():
    document, findings = read_yaml("omissions.yaml", (FACTS / "omissions.yaml").read_bytes())
    assert document is not None
    assert not findings
    return document.data


def list_settings(template):
    """The default, each value that a parameter may have, all and each of the members of a list."""
    settings = [{}]
    for one in template.parameters:
        settings += [
            {one.name: (value,) if isinstance(one.default, tuple) else value} for value in one.values
        ]
        if isinstance(one.default, tuple):
            settings.append({one.name: one.values})
    return settings


@cache
def render_all(name):
    template = TEMPLATES[name]
    return [render_steering(template, template.settings(one)) for one in list_settings(template)]


@cache
def judge_all(name, series):
    """Each render of a template with what is said of it in the state of one release series."""
    state = dict(list_states(TEMPLATES[name]))[series]
    return [(script, judge(script, state, read_omissions())) for script in render_all(name)]


def list_series(name):
    return [series for series, _ in list_states(TEMPLATES[name])]


def complain(name, series):
    """What is wrong with any render of a template in a state of basf2, without the places."""
    complaints = chain.from_iterable(judged.complaints for _, judged in judge_all(name, series))
    return {one.partition(": ")[2] for one in complaints}


@pytest.mark.parametrize("name", CURRENT)
def test_every_call_and_every_omission_is_what_the_sources_say(name):
    assert CURRENT[name].eras
    for series in list_series(name):
        assert complain(name, series) == set(), series


@pytest.mark.parametrize(
    ("name", "series", "says"),
    [
        ("hlt_skim/1", "release-02-", "TriggerSkim has no parameter useRandomNumbersForPreScale"),
        ("sroot_to_root/1", "release-02-", "SeqRootInput has no parameter declareRealData"),
        (
            "raw_to_cdst/2",
            "release-05-",
            "reconstruction.add_cdst_output is not told rawFormat, whose default is False, where True is meant",
        ),
        (
            "cosmic_to_cdst/1",
            "release-04-",
            "reconstruction.add_cdst_output is not told rawFormat, whose default is False, where True is meant",
        ),
        (
            "cdst_to_mdst/2",
            "release-06-",
            "reconstruction.prepare_cdst_analysis is not told add_eventt0_combiner, whose default is False, and nobody says why",
        ),
    ],
)
def test_what_was_wrong_with_former_templates_is_found(name, series, says):
    assert says in complain(name, series)


def cut(parameters, name):
    """The parameters before one of them."""
    return dict(takewhile(lambda one: one[0] != name, parameters.items()))


def alter(state, fact):
    """States in which one fact is another one, so that a script which relies on it must be found."""
    table, row, *rest = fact
    changes = []
    if table == "values":
        changes.append(
            lambda rows: rows[row].update(values=[one for one in rows[row]["values"] if str(one) != rest[0]])
        )
    elif not rest:
        changes.append(lambda rows: rows.pop(row))
        if table != "classes":
            changes.append(lambda rows: rows[row]["parameters"].update(brandNew="True"))
    elif table == "classes":
        changes.append(lambda rows: rows[row]["members"].remove(rest[0]))
    elif rest[1:] == ["placed"]:
        changes.append(lambda rows: rows[row].update(parameters=cut(rows[row]["parameters"], rest[0])))
    else:
        changes.append(
            lambda rows: rows[row]["parameters"].update(former=rows[row]["parameters"].pop(rest[0]))
        )
        if rest[1:] == ["omitted"]:
            changes.append(lambda rows: rows[row]["parameters"].update({rest[0]: "another default"}))
    for change in changes:
        altered = {**state, table: copy.deepcopy(state[table])}
        change(altered[table])
        yield altered


@pytest.mark.parametrize(
    "series", [state["releases"][0] for states in read_states().values() for state in states]
)
def test_a_changed_fact_is_found(series):
    """Each fact that some script uses: dropped, renamed, with another default, or beside a new parameter."""
    (state,) = (one for states in read_states().values() for one in states if one["releases"][0] == series)
    relying = {
        fact: script
        for name in CURRENT
        if series in list_series(name)
        for script, judged in judge_all(name, series)
        for fact in judged.used
    }
    assert len(relying) > 50
    missed = [
        fact
        for fact, script in relying.items()
        for altered in alter(state, fact)
        if not judge(script, altered, read_omissions()).complaints
    ]
    assert missed == []


def test_omissions_are_those_that_scripts_have():
    omitted = {
        fact[:3]
        for name in CURRENT
        for series in list_series(name)
        for _, judged in judge_all(name, series)
        for fact in judged.used
        if fact[3:] == ("omitted",)
    }
    listed = {
        (table, called, name)
        for table, rows in read_omissions().items()
        for called, names in rows.items()
        for name in names
    }
    assert listed == omitted


@pytest.mark.parametrize("era", ERAS.values(), ids=list(ERAS))
def test_what_an_era_says_it_was_held_against_is_what_its_facts_come_from(era):
    """And every release series of an era is of one state, whose facts name the file and its commit or version."""
    known = set()
    for state in read_states()[era.name]:
        evidence = {one["name"]: one for one in state["evidence"]}
        for row in chain.from_iterable(
            state[table].values() for table in ("functions", "modules", "classes", "values", "behaviour")
        ):
            source = evidence[row["from"]]
            path = row["at"].partition("@")[0].partition(":")[0]
            known.add((path, source.get("commit"), source.get("version")))
            assert ("commit" in source) == (":" in row["at"]) or "version" in source
    releases = [one for state in read_states()[era.name] for one in state["releases"]]
    assert sorted(releases) == sorted([*era.releases, *era.light])
    for one in era.evidence:
        assert (one.path, one.commit, one.version) in known


def test_tags_with_a_role_are_handed_where_skims_take_them():
    """What `schemas/skims/global_tags.py` says of releases is what the sources of them say."""
    light = {"light-22": "light-2207-lion", "light-23": "light-2305-korat", "light-24": "light-2403-persian"}
    for state in read_states()["C"]:
        taken = state["functions"]["skim.core.CombinedSkim"]["parameters"]
        for release in state["releases"]:
            for role in ROLES:
                assert (f"{role}Globaltag" in taken) == takes_role(
                    light.get(release, f"{release}00-00"), role
                )


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_used_that_is_not_declared(name):
    tree = ast.parse(render_all(name)[0])
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


@pytest.mark.parametrize("name", TEMPLATES)
def test_components_are_those_of_the_era(name):
    for era in TEMPLATES[name].eras:
        for state in read_states()[era.name]:
            assert state["values"]["components"]["values"] == list(era.components)
        for parameter in TEMPLATES[name].parameters:
            if parameter.name == "components":
                assert parameter.values == era.components


@pytest.mark.parametrize("name", CURRENT)
def test_names_of_files_tags_and_seed_come_from_the_job_alone(name):
    tree = ast.parse(render_all(name)[0])
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
            assert ast.unparse(node.value) == "False"
        elif isinstance(node, ast.Call) and dotted(node.func) == "basf2.set_random_seed":
            assert ast.unparse(node.args[0]) == "job['seed']"


@pytest.mark.parametrize("name", CURRENT)
def test_real_data_are_declared_where_the_detector_was_read_and_nowhere_else(name):
    """What the detector wrote is real; of a skim, a merge or a cdst the input says it."""
    declares = "declare_real(" in render_all(name)[0]
    template = CURRENT[name]
    assert declares is (
        bool({"raw", "sroot"} & set(template.reads)) and template.skims is None and not template.keeps_level
    )


@pytest.mark.parametrize(
    "name",
    [
        "cdst_to_mdst/3",
        "cdst_to_mdst/5",
        "combined_skim/1",
        "combined_skim/3",
        "cosmic_to_cdst/3",
        "hlt_skim/3",
        "hlt_skim/6",
        "offline_skim/1",
        "offline_skim/3",
        "raw_to_cdst/4",
        "raw_to_cdst/5",
        "raw_to_mdst/5",
        "sroot_to_root/3",
    ],
)
def test_a_render_is_the_one_that_was_reviewed(name):
    assert render_all(name)[0] == (GOLDEN / f"{name.replace('/', '-')}.py").read_text()


def test_templates_are_immutable():
    """A changed script restates history: what is meant as a change is a new version."""
    kept = dict(line.split() for line in (GOLDEN / "templates").read_text().splitlines())
    today = {key: digest_steering(render_steering(one, one.settings({}))) for key, one in TEMPLATES.items()}
    assert today == kept
