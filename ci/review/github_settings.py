"""What GitHub's settings let pipelines do on the production host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ci.review.forges import Answered
from ci.review.pipeline_settings import (
    DOCS,
    ENVIRONMENT,
    OF_REPOSITORY,
    OURS,
    RUNNER,
    SWITCHES,
    Setting,
    SettingsCheck,
    judge,
)
from schemas.yaml.scalars import show

WORKFLOW = ".github/workflows/main.yml"

_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


class GitHubSettings(SettingsCheck):
    """A repository of GitHub."""

    def path(self) -> str:
        """As of `SettingsCheck`."""
        return f"/repos/{quote(self.forge.place.project)}"

    def questions(self, project: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], list[Setting]]]]:
        """As of `SettingsCheck`."""
        branch = str(project["default_branch"])
        yield f"branch {branch}", lambda: self._judge_branch(branch)
        yield "runners of the repository", self._judge_runners
        yield f"runner group {RUNNER}", lambda: self._judge_group(project, branch)
        yield f"environment {ENVIRONMENT}", lambda: self._judge_environment(branch)
        yield "secrets of the repository", self._judge_secrets
        yield "variables of the repository", self._judge_variables
        yield "rights of pipelines", self._judge_rights

    def _judge_branch(self, branch: str) -> list[Setting]:
        looked_at = f"branch {branch}"
        name = quote(branch, safe="")
        rules = {str(rule["type"]) for rule in self.forge.list_all(f"{self.path()}/rules/branches/{name}")}
        reviewed, forward = "pull_request" in rules, "non_fast_forward" in rules
        if (
            not (reviewed and forward)
            and self.forge.ask("GET", f"{self.path()}/branches/{name}").read_json()["protected"]
        ):
            protection = self._read_protection(name)
            if protection is not None:
                reviewed = reviewed or "required_pull_request_reviews" in protection
                forward = forward or not protection["allow_force_pushes"]["enabled"]
        return judge(
            looked_at,
            (
                not reviewed,
                "wrong",
                "it can be changed without a pull request",
                "require pull requests, and reviews by code owners",
            ),
            (not forward, "wrong", "its history may be rewritten", "block force pushes"),
        )

    def _read_protection(self, name: str) -> Any:
        """How a branch is protected in the older way; None where it is protected by rules alone."""
        try:
            return self.forge.ask("GET", f"{self.path()}/branches/{name}/protection").read_json()
        except Answered as answer:
            if answer.status == 404 and answer.said == "Branch not protected":
                return None
            raise

    def _judge_runners(self) -> list[Setting]:
        listed = self.forge.list_all(f"{self.path()}/actions/runners", "runners")
        what = (
            "it is of the repository: any branch's workflow may name its labels, and runs what it likes there"
        )
        remedy = f"remove it, and register it in the organization's group {RUNNER}"
        return [Setting(f"runner {show(one['name'])}", "wrong", what, remedy) for one in listed] or [
            Setting("runners of the repository", "fine")
        ]

    def _judge_group(self, project: Mapping[str, Any], branch: str) -> list[Setting]:
        looked_at = f"runner group {RUNNER}"
        owner, name = str(project["owner"]["login"]), str(project["name"])
        if project["owner"]["type"] != "Organization":
            what = "there are no runner groups outside of an organization, so a runner cannot be kept to one workflow"
            return [
                Setting(looked_at, "note", what, "run the service; or move the repository to an organization")
            ]
        groups = f"/orgs/{quote(owner)}/actions/runner-groups"
        listed = self.forge.list_all(f"{groups}?visible_to_repository={quote(name)}", "runner_groups")
        group = next((one for one in listed if one["name"] == RUNNER), None)
        if group is None:
            what = "there is none for this repository: no pipeline launches"
            return [Setting(looked_at, "note", what, f"that is as it should be for the service; else {DOCS}")]
        members = [*self.forge.list_all(f"{groups}/{int(group['id'])}/repositories", "repositories")]
        workflows = [str(one) for one in group["selected_workflows"] or ()]
        pinned = group["restricted_to_workflows"] and workflows
        here = f"{project['full_name']}/"
        return judge(
            looked_at,
            (
                group["visibility"] != "selected"
                or [one["full_name"] for one in members] != [project["full_name"]],
                "wrong",
                "other repositories may use it",
                "select this repository alone",
            ),
            (
                bool(group["allows_public_repositories"]),
                "wrong",
                "public repositories may use it",
                "disallow them",
            ),
            (
                not pinned or any(not _is_fixed(one, branch) for one in workflows),
                "wrong",
                "any workflow of any branch may use it",
                f"restrict it to {here}{WORKFLOW}@refs/heads/{branch}",
            ),
            (
                bool(pinned) and any(one.startswith(here) and not _is_commit(one) for one in workflows),
                "note",
                OF_REPOSITORY,
                "restrict it to a workflow of another repository, by its commit, or run the service",
            ),
        )

    def _judge_environment(self, branch: str) -> list[Setting]:
        looked_at = f"environment {ENVIRONMENT}"
        path = f"{self.path()}/environments/{ENVIRONMENT}"
        environment = self.read(path)
        remedy = f"let {branch} alone deploy there (Settings, Environments)"
        if environment is None:
            return [Setting(looked_at, "note", "there is none, or the token may not see it", remedy)]
        policy = environment["deployment_branch_policy"]
        open_to_all = policy is None
        if policy is not None and policy["custom_branch_policies"]:
            listed = self.forge.list_all(f"{path}/deployment-branch-policies", "branch_policies")
            open_to_all = [str(one["name"]) for one in listed] != [branch]
        return judge(
            looked_at, (open_to_all, "wrong", "other branches than the default one may use it", remedy)
        )

    def _judge_secrets(self) -> list[Setting]:
        listed = self.forge.list_all(f"{self.path()}/actions/secrets", "secrets")
        what = "every branch's workflow can read it"
        remedy = "put it into the host's environment file, and remove it here"
        found = [
            Setting(f"secret {show(one['name'])}", "wrong", what, remedy)
            for one in listed
            if str(one["name"]).startswith(OURS)
        ]
        return found or [Setting("secrets of the repository", "fine")]

    def _judge_variables(self) -> list[Setting]:
        listed = self.forge.list_all(f"{self.path()}/actions/variables", "variables")
        what = "no job reads it"
        remedy = "put it into the host's environment file, and remove it here"
        found = [
            Setting(f"variable {show(one['name'])}", "note", what, remedy)
            for one in listed
            if str(one["name"]).startswith(OURS) and one["name"] not in SWITCHES
        ]
        return found or [Setting("variables of the repository", "fine")]

    def _judge_rights(self) -> list[Setting]:
        rights = self.forge.ask("GET", f"{self.path()}/actions/permissions/workflow").read_json()
        return judge(
            "rights of pipelines",
            (
                rights["default_workflow_permissions"] != "read",
                "note",
                "the token of a workflow that asks for nothing may write",
                "set it to read (Settings, Actions, Workflow permissions)",
            ),
        )


def _is_fixed(workflow: str, branch: str) -> bool:
    """Whether a workflow of a group is that of one commit or of the default branch."""
    return _is_commit(workflow) or workflow.partition("@")[2] in (branch, f"refs/heads/{branch}")


def _is_commit(workflow: str) -> bool:
    return _COMMIT.fullmatch(workflow.partition("@")[2]) is not None
