"""Checks what GitLab's settings allow pipelines to do on the production host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ci.review.forges import Answered
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
    hide,
    judge,
    tell_why,
)
from schemas.yaml.scalars import show

COMMENTS = "comments"
"""The environment of the job that comments. Its token is limited to this environment."""
TOKEN = "B2PROD_FORGE_TOKEN"  # noqa: S105 -- its name

_HIDDEN = "the token may not see it"
"""GitLab leaves fields out of its answer if the token has no right to see them."""


class GitLabSettings(SettingsCheck):
    """A project of GitLab."""

    def questions(self, project: Mapping[str, Any], branch: str) -> Mapping[str, Question]:
        """See `SettingsCheck`."""
        return {
            f"branch {branch}": partial(self._judge_branch, branch),
            f"runners {RUNNER}": self._judge_runners,
            "variables": self._judge_variables,
            f"environment {ENVIRONMENT}": self._judge_environment,
            "pipeline file": partial(_judge_file, project),
            "pipelines of forks": partial(_judge_forks, project),
        }

    def _judge_branch(self, branch: str, looked_at: str) -> list[Setting]:
        listed = self.forge.list_all(f"{self.forge.path}/protected_branches")
        rules = [rule for rule in listed if _fits(str(rule["name"]), branch)]
        if not rules:
            what = "it is not protected: whoever may push changes it without a review, and a protected runner takes no job of it"
            remedy = "protect it (Settings, Repository, Protected branches)"
            return [Setting(looked_at, "wrong", what, remedy)]
        rewritten = any(rule["allow_force_push"] for rule in rules)
        pushed = any(level["access_level"] != 0 for rule in rules for level in rule["push_access_levels"])
        what, remedy = "some may push to it without a merge request", "let no one push; merging is enough"
        return judge(
            looked_at,
            (rewritten, "wrong", "its history may be rewritten", "disallow force pushes"),
            (pushed, "note", what, remedy),
        )

    def _judge_runners(self, looked_at: str) -> list[Setting]:
        found: list[Setting] = []
        for one in self.forge.list_all(f"{self.forge.path}/runners?tag_list={RUNNER}"):
            found += self._judge_runner(int(one["id"]))
        what = f"no runner has the tag {RUNNER}: no pipeline launches"
        remedy = f"that is as it should be for the service; else {DOCS}"
        return found or [Setting(looked_at, "note", what, remedy)]

    def _judge_runner(self, number: int) -> list[Setting]:
        looked_at = f"runner {number}"
        try:
            runner = self.forge.ask("GET", f"/runners/{number}").read_json()
        except Answered as answer:
            return [hide(looked_at, tell_why(answer))]
        if RUNNER not in runner["tag_list"]:
            return []
        is_open = runner["access_level"] != "ref_protected"
        what = "it is not protected: any branch may name its tag, and runs what it likes there"
        untagged = bool(runner["run_untagged"])
        shared = runner["runner_type"] != "project_type" or not runner["locked"]
        lock = "register it for this project, and lock it"
        return judge(
            looked_at,
            (is_open, "wrong", what, "tick Protected in its settings"),
            (untagged, "wrong", "it runs jobs without a tag", "untick Run untagged jobs"),
            (shared, "wrong", "other projects may use it", lock),
        )

    def _judge_variables(self, _looked_at: str) -> list[Setting]:
        found: list[Setting] = []
        for one in self.forge.list_all(f"{self.forge.path}/variables"):
            key, looked_at = str(one["key"]), f"variable {show(str(one['key']))}"
            scope = str(one["environment_scope"])
            if key == TOKEN:
                what = "it reaches every job, also those that run the code of merge requests"
                remedy = f"give it the environment scope {COMMENTS}, and set B2PROD_COMMENTS to yes"
                found += judge(
                    looked_at,
                    (not one["masked"], "wrong", "it is shown in logs", "mask it"),
                    (scope != COMMENTS, "wrong", what, remedy),
                )
            elif key.startswith(OURS) and key not in SWITCHES:
                what = "every branch's pipeline gets it"
                remedy = "protect it; better, put it into the host's environment file, and remove it here"
                found += judge(looked_at, (not one["protected"], "wrong", what, remedy))
        return found

    def _judge_environment(self, looked_at: str) -> list[Setting]:
        absent = self.read(f"/protected_environments/{ENVIRONMENT}") is None
        what = "it is not protected, or this GitLab cannot (it is of Premium)"
        remedy = "say who may deploy there (Settings, CI/CD, Protected environments)"
        return judge(looked_at, (absent, "note", what, remedy))


def _judge_file(project: Mapping[str, Any], looked_at: str) -> list[Setting]:
    if "ci_config_path" not in project:
        return [hide(looked_at, _HIDDEN)]
    own = "@" not in str(project["ci_config_path"] or "")
    remedy = "keep it in a project of its own (CI/CD configuration file), or run the service"
    return judge(looked_at, (own, "note", OF_REPOSITORY, remedy))


def _judge_forks(project: Mapping[str, Any], looked_at: str) -> list[Setting]:
    field = "ci_allow_fork_pipelines_to_run_in_parent_project"
    if field not in project:
        return [hide(looked_at, _HIDDEN)]
    what = "members may start pipelines of forks' merge requests in this project"
    remedy = "untick it (Settings, CI/CD, General pipelines)"
    return judge(looked_at, (bool(project[field]), "note", what, remedy))


def _fits(pattern: str, branch: str) -> bool:
    """Whether GitLab's rule for branches, in which `*` stands for any text, matches this branch."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), branch) is not None
