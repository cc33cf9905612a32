"""What GitLab's settings let pipelines do on the production host."""

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
    tell_why,
)
from schemas.yaml.scalars import show

COMMENTS = "comments"
"""The environment of the job that comments, to which its token is scoped."""
TOKEN = "B2PROD_FORGE_TOKEN"  # noqa: S105 -- its name


class GitLabSettings(SettingsCheck):
    """A project of GitLab."""

    def path(self) -> str:
        """As of `SettingsCheck`."""
        return f"/projects/{quote(self.forge.place.project, safe='')}"

    def questions(self, project: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], list[Setting]]]]:
        """As of `SettingsCheck`."""
        branch = str(project["default_branch"])
        yield f"branch {branch}", lambda: self._judge_branch(branch)
        yield f"runners {RUNNER}", self._judge_runners
        yield "variables", self._judge_variables
        yield f"environment {ENVIRONMENT}", self._judge_environment
        yield "pipeline file", lambda: self._judge_file(project)
        yield "pipelines of forks", lambda: self._judge_forks(project)

    def _judge_branch(self, branch: str) -> list[Setting]:
        looked_at = f"branch {branch}"
        rules = [
            rule
            for rule in self.forge.list_all(f"{self.path()}/protected_branches")
            if _fits(str(rule["name"]), branch)
        ]
        if not rules:
            what = "it is not protected: whoever may push changes it without a review, and a protected runner takes no job of it"
            return [
                Setting(looked_at, "wrong", what, "protect it (Settings, Repository, Protected branches)")
            ]
        pushers = [level for rule in rules for level in rule["push_access_levels"]]
        return judge(
            looked_at,
            (
                any(rule["allow_force_push"] for rule in rules),
                "wrong",
                "its history may be rewritten",
                "disallow force pushes",
            ),
            (
                any(level["access_level"] != 0 for level in pushers),
                "note",
                "some may push to it without a merge request",
                "let no one push; merging is enough",
            ),
        )

    def _judge_runners(self) -> list[Setting]:
        listed = self.forge.list_all(f"{self.path()}/runners?tag_list={RUNNER}")
        found: list[Setting] = []
        for one in listed:
            number = int(one["id"])
            looked_at = f"runner {number}"
            try:
                runner = self.forge.ask("GET", f"/runners/{number}").read_json()
            except Answered as answer:
                found.append(Setting(looked_at, "unknown", tell_why(answer), f"look yourself: {DOCS}"))
                continue
            if RUNNER not in runner["tag_list"]:
                continue
            shared = runner["runner_type"] != "project_type"
            found += judge(
                looked_at,
                (
                    runner["access_level"] != "ref_protected",
                    "wrong",
                    "it is not protected: any branch may name its tag, and runs what it likes there",
                    "tick Protected in its settings",
                ),
                (
                    bool(runner["run_untagged"]),
                    "wrong",
                    "it runs jobs without a tag",
                    "untick Run untagged jobs",
                ),
                (
                    shared or not runner["locked"],
                    "wrong",
                    "other projects may use it",
                    "register it for this project, and lock it",
                ),
            )
        nothing = f"no runner has the tag {RUNNER}: no pipeline launches"
        return found or [
            Setting(
                f"runners {RUNNER}", "note", nothing, f"that is as it should be for the service; else {DOCS}"
            )
        ]

    def _judge_variables(self) -> list[Setting]:
        found: list[Setting] = []
        for one in self.forge.list_all(f"{self.path()}/variables"):
            key, scope = str(one["key"]), str(one["environment_scope"])
            looked_at = f"variable {show(key)}"
            if key == TOKEN:
                found += judge(
                    looked_at,
                    (not one["masked"], "wrong", "it is shown in logs", "mask it"),
                    (
                        scope != COMMENTS,
                        "wrong",
                        "it reaches every job, also those that run the code of merge requests",
                        f"give it the environment scope {COMMENTS}, and set B2PROD_COMMENTS to yes",
                    ),
                )
            elif key.startswith(OURS) and key not in SWITCHES:
                what = "every branch's pipeline gets it"
                remedy = "protect it; better, put it into the host's environment file, and remove it here"
                found += judge(looked_at, (not one["protected"], "wrong", what, remedy))
        return found or [Setting("variables", "fine")]

    def _judge_environment(self) -> list[Setting]:
        looked_at = f"environment {ENVIRONMENT}"
        if self.read(f"{self.path()}/protected_environments/{ENVIRONMENT}") is None:
            what = "it is not protected, or this GitLab cannot (it is of Premium)"
            return [
                Setting(
                    looked_at,
                    "note",
                    what,
                    "say who may deploy there (Settings, CI/CD, Protected environments)",
                )
            ]
        return [Setting(looked_at, "fine")]

    def _judge_file(self, project: Mapping[str, Any]) -> list[Setting]:
        looked_at = "pipeline file"
        if "ci_config_path" not in project:
            return [_hide(looked_at)]
        elsewhere = "@" in str(project["ci_config_path"] or "")
        remedy = "keep it in a project of its own (CI/CD configuration file), or run the service"
        return judge(looked_at, (not elsewhere, "note", OF_REPOSITORY, remedy))

    def _judge_forks(self, project: Mapping[str, Any]) -> list[Setting]:
        looked_at, field = "pipelines of forks", "ci_allow_fork_pipelines_to_run_in_parent_project"
        if field not in project:
            return [_hide(looked_at)]
        what = "members may start pipelines of forks' merge requests in this project"
        remedy = "untick it (Settings, CI/CD, General pipelines)"
        return judge(looked_at, (bool(project[field]), "note", what, remedy))


def _hide(looked_at: str) -> Setting:
    """What GitLab leaves out of its answer, as it does for who may not see it."""
    return Setting(looked_at, "unknown", "the token may not see it", f"look yourself: {DOCS}")


def _fits(pattern: str, branch: str) -> bool:
    """Whether GitLab's rule for a branch, in which `*` stands for anything, is for this one."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), branch) is not None
