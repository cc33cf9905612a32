"""`doctor --pipeline`: what a forge's settings let pipelines do, and what cannot be told."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from ci.review.gitlab_settings import _fits
from tests.support.services.forge_settings import GITHUB, GITLAB, PROJECT, SECRET, SettingsForge

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
L = "/api/v4/projects/belle2%2Fproductions"
H = f"/repos/{PROJECT}"
G = "/orgs/belle2/actions/runner-groups"


@pytest.fixture(params=["gitlab", "github"])
def forge(request):
    made = SettingsForge(request.param)
    yield made
    made.close()


@pytest.fixture
def gitlab():
    made = SettingsForge("gitlab")
    yield made
    made.close()


@pytest.fixture
def github():
    made = SettingsForge("github")
    yield made
    made.close()


@pytest.fixture
def ask(capsys):
    def ask(forge, *words, project=PROJECT):
        code = run(
            ["doctor", "--pipeline", f"--{forge.kind}", forge.address, "--project", project, "--json", *words]
        )
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, (json.loads(printed.out) if printed.out else printed.err)

    return ask


def pick(found, state):
    return {(one["looked_at"], one["what"]) for one in found if one["state"] == state}


def test_sound_settings_are_fine(forge, ask):
    code, found = ask(forge)
    assert code == Exit.FINE
    assert {one["state"] for one in found} == {"fine"}
    assert len(found) >= 6


def set_group(**changes):
    return lambda data: data[G]["runner_groups"][1].update(changes)


def set_main(**changes):
    return lambda data: data[f"{L}/protected_branches"][0].update(changes)


def add_variable(key, **flags):
    whole = {
        "key": key,
        "value": SECRET,
        "protected": False,
        "masked": False,
        "environment_scope": "*",
        **flags,
    }
    return lambda data: data[f"{L}/variables"].append(whole)


ANYONE = [{"id": 1, "access_level": 30}]
GITLAB_WRONG = {
    "main without protection": (
        lambda data: data[f"{L}/protected_branches"].clear(),
        "wrong",
        "not protected",
    ),
    "rewritten": (set_main(allow_force_push=True), "wrong", "history may be rewritten"),
    "another rule fits": (
        lambda data: data[f"{L}/protected_branches"].append(
            {"name": "ma*", "push_access_levels": [], "allow_force_push": True}
        ),
        "wrong",
        "history may be rewritten",
    ),
    "pushed to": (set_main(push_access_levels=ANYONE), "note", "without a merge request"),
    "any branch": (
        lambda data: data["/api/v4/runners/12"].update(access_level="not_protected"),
        "wrong",
        "any branch may name its tag",
    ),
    "untagged": (lambda data: data["/api/v4/runners/12"].update(run_untagged=True), "wrong", "without a tag"),
    "unlocked": (lambda data: data["/api/v4/runners/12"].update(locked=False), "wrong", "other projects"),
    "shared": (
        lambda data: data["/api/v4/runners/12"].update(runner_type="instance_type"),
        "wrong",
        "other projects",
    ),
    "no runner": (lambda data: data[f"{L}/runners"].clear(), "note", "no pipeline launches"),
    "variable": (add_variable("B2PROD_DATABASE"), "wrong", "every branch's pipeline"),
    "token unmasked": (
        lambda data: data[f"{L}/variables"][0].update(masked=False),
        "wrong",
        "shown in logs",
    ),
    "token for all": (
        lambda data: data[f"{L}/variables"][0].update(environment_scope="*"),
        "wrong",
        "reaches every job",
    ),
    "environment": (
        lambda data: data.pop(f"{L}/protected_environments/production"),
        "note",
        "of Premium",
    ),
    "own pipeline file": (
        lambda data: data[L].update(ci_config_path=None),
        "note",
        "whoever merges a change",
    ),
    "forks": (
        lambda data: data[L].update(ci_allow_fork_pipelines_to_run_in_parent_project=True),
        "note",
        "forks",
    ),
}

OWN = f"{PROJECT}/.github/workflows/main.yml@"
GITHUB_WRONG = {
    "no rule": (
        lambda data: (
            data[f"{H}/rules/branches/main"].pop(0),
            data[f"{H}/branches/main"].update(protected=False),
        ),
        "wrong",
        "without a pull request",
    ),
    "older protection without reviews": (
        lambda data: (
            data[f"{H}/rules/branches/main"].clear(),
            data[f"{H}/branches/main/protection"].pop("required_pull_request_reviews"),
        ),
        "wrong",
        "without a pull request",
    ),
    "older protection with force": (
        lambda data: (
            data[f"{H}/rules/branches/main"].pop(),
            data[f"{H}/branches/main/protection"]["allow_force_pushes"].update(enabled=True),
        ),
        "wrong",
        "history may be rewritten",
    ),
    "runner of the repository": (
        lambda data: data[f"{H}/actions/runners"]["runners"].append(
            {"id": 1, "name": "[/red]", "os": "linux", "status": "online", "busy": False, "labels": []}
        ),
        "wrong",
        "any branch's workflow",
    ),
    "a person's": (lambda data: data[H]["owner"].update(type="User"), "note", "outside of an organization"),
    "no group": (lambda data: data[G]["runner_groups"].pop(), "note", "no pipeline launches"),
    "all repositories": (set_group(visibility="all"), "wrong", "other repositories"),
    "another repository": (
        lambda data: data[f"{G}/2/repositories"]["repositories"].append({"full_name": "belle2/other"}),
        "wrong",
        "other repositories",
    ),
    "public": (set_group(allows_public_repositories=True), "wrong", "public repositories"),
    "unrestricted": (set_group(restricted_to_workflows=False), "wrong", "any workflow"),
    "no workflow": (set_group(selected_workflows=[]), "wrong", "any workflow"),
    "workflow of a branch": (
        set_group(selected_workflows=["belle2/pipelines/x.yml@refs/heads/feature"]),
        "wrong",
        "any workflow",
    ),
    "own workflow": (
        set_group(selected_workflows=[f"{OWN}refs/heads/main"]),
        "note",
        "whoever merges a change",
    ),
    "open environment": (
        lambda data: data[f"{H}/environments/production"].update(deployment_branch_policy=None),
        "wrong",
        "other branches",
    ),
    "environment of another branch": (
        lambda data: data[f"{H}/environments/production/deployment-branch-policies"][
            "branch_policies"
        ].append({"id": 9, "name": "*"}),
        "wrong",
        "other branches",
    ),
    "secret": (
        lambda data: data[f"{H}/actions/secrets"]["secrets"].append({"name": "B2PROD_DATABASE"}),
        "wrong",
        "every branch's workflow",
    ),
    "variable": (
        lambda data: data[f"{H}/actions/variables"]["variables"].append(
            {"name": "B2PROD_TRUST", "value": "x"}
        ),
        "note",
        "no job reads it",
    ),
    "rights": (
        lambda data: data[f"{H}/actions/permissions/workflow"].update(default_workflow_permissions="write"),
        "note",
        "may write",
    ),
}


def check_one(forge, ask, change, state, said):
    change(forge.data)
    code, found = ask(forge)
    assert code == (Exit.FINDINGS if state == "wrong" else Exit.FINE)
    told = pick(found, state)
    assert len(told) == 1, found
    assert said in next(iter(told))[1]
    assert {one["state"] for one in found} == {"fine", state}


@pytest.mark.parametrize("name", GITLAB_WRONG)
def test_each_setting_of_gitlab_that_is_not_sound_is_told(gitlab, ask, name):
    check_one(gitlab, ask, *GITLAB_WRONG[name])


@pytest.mark.parametrize("name", GITHUB_WRONG)
def test_each_setting_of_github_that_is_not_sound_is_told(github, ask, name):
    check_one(github, ask, *GITHUB_WRONG[name])


def test_a_branch_that_is_protected_by_rules_alone_is_not_asked_for_more(github, ask):
    github.data[f"{H}/rules/branches/main"].pop()  # no rule against force pushes
    github.refused["/protection$"] = 404
    code, found = ask(github)
    assert code == Exit.FINDINGS
    assert pick(found, "wrong") == {("branch main", "its history may be rewritten")}


ENDPOINTS = [(kind, path) for kind, data in (("gitlab", GITLAB), ("github", GITHUB)) for path in [*data][1:]]


@pytest.mark.parametrize("status", [401, 403, 500, 302])
@pytest.mark.parametrize(("kind", "path"), ENDPOINTS)
def test_what_a_token_may_not_see_is_unknown_and_hides_nothing_else(kind, path, status, ask):
    forge = SettingsForge(kind)
    try:
        if path.endswith(("/branches/main", "/protection")):
            forge.data[f"{H}/rules/branches/main"].clear()
        forge.refused[f"^{path}$"] = status
        code, found = ask(forge)
    finally:
        forge.close()
    assert code == Exit.UNAVAILABLE
    (told,) = pick(found, "unknown")
    assert ("may not see" if status in (401, 403) else str(status)) in told[1]
    assert sum(one["state"] == "fine" for one in found) >= 5


@pytest.mark.parametrize("nonsense", ["text", None, 3, [], {}, [1], {"x": 1}, [{}], [[]], {"runners": 1}])
@pytest.mark.parametrize(("kind", "path"), ENDPOINTS)
def test_an_answer_that_is_none_of_the_api_is_no_traceback(kind, path, nonsense, ask):
    forge = SettingsForge(kind)
    try:
        forge.data[path] = nonsense
        code, found = ask(forge)
    finally:
        forge.close()
    assert code in (Exit.FINE, Exit.FINDINGS, Exit.UNAVAILABLE)
    assert sum(one["state"] == "fine" for one in found) >= 4


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, Exit.USAGE, "does not take the token"),
        (403, Exit.USAGE, "may not see"),
        (404, Exit.USAGE, "there is no"),
        (500, Exit.UNAVAILABLE, "500"),
    ],
)
def test_without_the_project_nothing_is_told(forge, ask, status, code, said):
    forge.refused["."] = status
    got, told = ask(forge)
    assert got == code
    assert said in told


def test_a_forge_that_does_not_answer_is_unavailable(capsys):
    for address in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        words = ["doctor", "--pipeline", "--gitlab", address, "--project", "a/b"]
        assert run(words) == Exit.UNAVAILABLE
        assert "does not answer" in capsys.readouterr().err


def test_a_member_without_rights_gets_the_fields_that_gitlab_leaves_out_as_unknown(gitlab, ask):
    for field in ("ci_config_path", "ci_allow_fork_pipelines_to_run_in_parent_project"):
        del gitlab.data[L][field]
    code, found = ask(gitlab)
    assert code == Exit.UNAVAILABLE
    assert {where for where, _ in pick(found, "unknown")} == {"pipeline file", "pipelines of forks"}


def test_s32_the_token_goes_to_the_forge_and_no_value_comes_out(forge, ask, monkeypatch, capsys):
    monkeypatch.setenv("B2PROD_DOCTOR_TOKEN", "read-only-token")
    monkeypatch.setenv("B2PROD_FORGE_TOKEN", "the-token-for-comments")
    _, found = ask(forge)
    assert SECRET not in json.dumps(found)
    assert "read-only-token" not in json.dumps(found)
    for _, headers in forge.seen:
        assert "read-only-token" in (
            headers.get("Private-Token") or headers.get("PRIVATE-TOKEN") or headers["Authorization"]
        )
        assert "the-token-for-comments" not in str(headers)
    monkeypatch.delenv("B2PROD_DOCTOR_TOKEN")
    forge.seen.clear()
    ask(forge)
    assert not any(
        {"private-token", "authorization"} & {name.lower() for name in headers} for _, headers in forge.seen
    )
    assert (
        run(["doctor", "--pipeline", "--gitlab", "http://forge.example.org", "--project", "a/b"])
        == Exit.USAGE
    )
    assert "not https" in capsys.readouterr().err


def test_a_table_for_people_in_which_brackets_are_no_markup(github, capsys):
    github.data[f"{H}/actions/runners"]["runners"].append({"name": "[/red][bold]\x1b[31m"})
    words = ["doctor", "--pipeline", "--github", github.address, "--project", PROJECT]
    assert run(words) == Exit.FINDINGS
    printed = capsys.readouterr()
    assert "[/red][bold]" in "".join(printed.out.split())
    assert "\x1b" not in printed.out
    assert "1 of these must be corrected" in printed.err


@pytest.mark.parametrize(
    "words",
    [
        ["--pipeline"],
        ["--pipeline", "--gitlab", "https://x.example"],
        ["--pipeline", "--gitlab", "https://x.example", "--github", "https://y.example", "--project", "a/b"],
        ["--pipeline", "local", "--gitlab", "https://x.example", "--project", "a/b"],
        ["--project", "a/b"],
        ["--pipeline", "--gitlab", "no address", "--project", "a/b"],
    ],
)
def test_a_wrong_use_is_told(words, capsys):
    assert run(["doctor", *words]) == Exit.USAGE
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "branch", "fits"),
    [
        ("main", "main", True),
        ("*", "main", True),
        ("ma*", "main", True),
        ("*-stable", "main", False),
        ("m?in", "main", False),
        ("main", "main2", False),
        ("release/*", "release/1/x", True),
    ],
)
def test_rules_of_gitlab_fit_branches_by_stars(pattern, branch, fits):
    assert _fits(pattern, branch) == fits
