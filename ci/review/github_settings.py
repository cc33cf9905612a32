"""Checks what GitHub's settings allow pipelines to do on the production host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from ci.review.pipeline_settings import (
    DOCS,
    ENVIRONMENT,
    OF_REPOSITORY,
    OURS,
    RUNNER,
    SWITCHES,
    Question,
    Setting,
    SettingsCheck,
    judge,
)
from schemas.yaml.scalars import show

WORKFLOW = ".github/workflows/main.yml"

_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


class GitHubSettings(SettingsCheck):
    """A repository of GitHub."""

    def questions(self, project: Mapping[str, Any], branch: str) -> Mapping[str, Question]:
        """See `SettingsCheck`."""
        return {
            f"branch {branch}": partial(self._judge_branch, branch),
            "runners of the repository": self._judge_runners,
            f"runner group {RUNNER}": partial(self._judge_group, project, branch),
            f"environment {ENVIRONMENT}": partial(self._judge_environment, branch),
            "secrets of the repository": self._judge_secrets,
            "variables of the repository": self._judge_variables,
            "rights of pipelines": self._judge_rights,
        }

    def _judge_branch(self, branch: str, looked_at: str) -> list[Setting]:
        name = quote(branch, safe="")
        listed = self.forge.list_all(f"{self.forge.path}/rules/branches/{name}")
        rules = {str(rule["type"]) for rule in listed}
        reviewed, forward = "pull_request" in rules, "non_fast_forward" in rules
        if not (reviewed and forward) and self._read(f"/branches/{name}")["protected"]:
            # The protection may be of the older kind, or come from rulesets only.
            older = self.read(f"/branches/{name}/protection", "Branch not protected")
            if older is not None:
                reviewed = reviewed or "required_pull_request_reviews" in older
                forward = forward or not older["allow_force_pushes"]["enabled"]
        what, remedy = (
            "it can be changed without a pull request",
            "require pull requests, and reviews by code owners",
        )
        return judge(
            looked_at,
            (not reviewed, "wrong", what, remedy),
            (not forward, "wrong", "its history may be rewritten", "block force pushes"),
        )

    def _judge_runners(self, _looked_at: str) -> list[Setting]:
        what = (
            "it is of the repository: any branch's workflow may name its labels, and runs what it likes there"
        )
        remedy = f"remove it, and register it in the organization's group {RUNNER}"
        listed = self.forge.list_all(f"{self.forge.path}/actions/runners", "runners")
        return [Setting(f"runner {show(one['name'])}", "wrong", what, remedy) for one in listed]

    def _judge_group(self, project: Mapping[str, Any], branch: str, looked_at: str) -> list[Setting]:
        owner, name, full_name = str(project["owner"]["login"]), str(project["name"]), project["full_name"]
        if project["owner"]["type"] != "Organization":
            what = "there are no runner groups outside of an organization, so a runner cannot be kept to one workflow"
            remedy = "run the service; or move the repository to an organization"
            return [Setting(looked_at, "note", what, remedy)]
        groups = f"/orgs/{quote(owner)}/actions/runner-groups"
        listed = self.forge.list_all(f"{groups}?visible_to_repository={quote(name)}", "runner_groups")
        group = next((one for one in listed if one["name"] == RUNNER), None)
        if group is None:
            what = "there is none for this repository: no pipeline launches"
            return [Setting(looked_at, "note", what, f"that is as it should be for the service; else {DOCS}")]
        members = self.forge.list_all(f"{groups}/{int(group['id'])}/repositories", "repositories")
        shared = group["visibility"] != "selected" or [one["full_name"] for one in members] != [full_name]
        public = bool(group["allows_public_repositories"])
        workflows = [str(one) for one in group["selected_workflows"] or ()]
        pinned = bool(group["restricted_to_workflows"] and workflows)
        loose = not pinned or not all(_is_fixed(one, branch) for one in workflows)
        own = pinned and any(one.startswith(f"{full_name}/") and not _is_commit(one) for one in workflows)
        restrict = f"restrict it to {full_name}/{WORKFLOW}@refs/heads/{branch}"
        move = "restrict it to a workflow of another repository, by its commit, or run the service"
        return judge(
            looked_at,
            (shared, "wrong", "other repositories may use it", "select this repository alone"),
            (public, "wrong", "public repositories may use it", "disallow them"),
            (loose, "wrong", "any workflow of any branch may use it", restrict),
            (own, "note", OF_REPOSITORY, move),
        )

    def _judge_environment(self, branch: str, looked_at: str) -> list[Setting]:
        path = f"/environments/{ENVIRONMENT}"
        environment = self.read(path)
        remedy = f"let {branch} alone deploy there (Settings, Environments)"
        if environment is None:
            return [Setting(looked_at, "note", "there is none, or the token may not see it", remedy)]
        policy = environment["deployment_branch_policy"]
        is_open = policy is None
        if policy is not None and policy["custom_branch_policies"]:
            policies = f"{self.forge.path}{path}/deployment-branch-policies"
            listed = self.forge.list_all(policies, "branch_policies")
            is_open = [str(one["name"]) for one in listed] != [branch]
        return judge(looked_at, (is_open, "wrong", "other branches than the default one may use it", remedy))

    def _judge_secrets(self, _looked_at: str) -> list[Setting]:
        what, remedy = "every branch's workflow can read it", _MOVE
        names = self._list_ours("secrets")
        return [Setting(f"secret {show(name)}", "wrong", what, remedy) for name in names]

    def _judge_variables(self, _looked_at: str) -> list[Setting]:
        names = [name for name in self._list_ours("variables") if name not in SWITCHES]
        return [Setting(f"variable {show(name)}", "note", "no job reads it", _MOVE) for name in names]

    def _list_ours(self, kind: str) -> list[str]:
        names = (str(one["name"]) for one in self.forge.list_all(f"{self.forge.path}/actions/{kind}", kind))
        return [name for name in names if name.startswith(OURS)]

    def _judge_rights(self, looked_at: str) -> list[Setting]:
        rights = self._read("/actions/permissions/workflow")
        writes = rights["default_workflow_permissions"] != "read"
        what = "the token of a workflow that asks for nothing may write"
        remedy = "set it to read (Settings, Actions, Workflow permissions)"
        return judge(looked_at, (writes, "note", what, remedy))

    def _read(self, path: str) -> Any:
        return self.forge.ask("GET", f"{self.forge.path}{path}").read_json()


_MOVE = "put it into the host's environment file, and remove it here"


def _is_fixed(workflow: str, branch: str) -> bool:
    """Whether a workflow of a runner group is that of one commit or of the default branch."""
    return _is_commit(workflow) or workflow.partition("@")[2] in (branch, f"refs/heads/{branch}")


def _is_commit(workflow: str) -> bool:
    return _COMMIT.fullmatch(workflow.partition("@")[2]) is not None
