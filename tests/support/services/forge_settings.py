"""The settings APIs of GitLab and GitHub on this machine; answers have the fields of the real APIs."""

from __future__ import annotations

import copy
import re

from tests.support.services.loopback import serve

OWNER, NAME = "belle2", "productions"
PROJECT = f"{OWNER}/{NAME}"
SECRET = "glpat-this-is-the-value"

GITLAB = {
    "/api/v4/projects/belle2%2Fproductions": {
        "id": 7,
        "path_with_namespace": PROJECT,
        "default_branch": "main",
        "visibility": "private",
        "ci_config_path": "production.yml@belle2/pipelines",
        "ci_allow_fork_pipelines_to_run_in_parent_project": False,
    },
    "/api/v4/projects/belle2%2Fproductions/protected_branches": [
        {
            "id": 1,
            "name": "main",
            "push_access_levels": [{"id": 1, "access_level": 0, "access_level_description": "No one"}],
            "merge_access_levels": [{"id": 2, "access_level": 40, "access_level_description": "Maintainers"}],
            "allow_force_push": False,
            "code_owner_approval_required": True,
        }
    ],
    "/api/v4/projects/belle2%2Fproductions/runners": [
        {
            "id": 12,
            "active": True,
            "paused": False,
            "description": "production",
            "is_shared": False,
            "runner_type": "project_type",
            "online": True,
            "status": "online",
        }
    ],
    "/api/v4/runners/12": {
        "id": 12,
        "active": True,
        "description": "production",
        "is_shared": False,
        "runner_type": "project_type",
        "tag_list": ["b2prod-production"],
        "run_untagged": False,
        "locked": True,
        "access_level": "ref_protected",
        "maximum_timeout": None,
        "projects": [{"id": 7, "path_with_namespace": PROJECT}],
    },
    "/api/v4/projects/belle2%2Fproductions/variables": [
        {
            "variable_type": "env_var",
            "key": "B2PROD_FORGE_TOKEN",
            "value": SECRET,
            "protected": False,
            "masked": True,
            "hidden": False,
            "raw": False,
            "environment_scope": "comments",
            "description": None,
        },
        {
            "variable_type": "env_var",
            "key": "B2PROD_LAUNCH",
            "value": "pipeline",
            "protected": False,
            "masked": False,
            "hidden": False,
            "raw": False,
            "environment_scope": "*",
            "description": None,
        },
        {
            "variable_type": "env_var",
            "key": "B2PROD_TRUST",
            "value": "0" * 64,
            "protected": True,
            "masked": False,
            "hidden": False,
            "raw": False,
            "environment_scope": "*",
            "description": None,
        },
    ],
    "/api/v4/projects/belle2%2Fproductions/protected_environments/production": {
        "name": "production",
        "deploy_access_levels": [{"id": 3, "access_level": 40, "access_level_description": "Maintainers"}],
        "required_approval_count": 0,
    },
}

_REPOSITORY = f"/repos/{PROJECT}"
_GROUPS = f"/orgs/{OWNER}/actions/runner-groups"
GITHUB = {
    _REPOSITORY: {
        "id": 7,
        "name": NAME,
        "full_name": PROJECT,
        "private": True,
        "owner": {"login": OWNER, "type": "Organization"},
        "default_branch": "main",
        "visibility": "private",
    },
    f"{_REPOSITORY}/rules/branches/main": [
        {"type": "pull_request", "ruleset_id": 1, "parameters": {"require_code_owner_review": True}},
        {"type": "non_fast_forward", "ruleset_id": 1},
    ],
    f"{_REPOSITORY}/branches/main": {"name": "main", "protected": True},
    f"{_REPOSITORY}/branches/main/protection": {
        "required_pull_request_reviews": {"required_approving_review_count": 1},
        "allow_force_pushes": {"enabled": False},
    },
    f"{_REPOSITORY}/actions/runners": {"total_count": 0, "runners": []},
    _GROUPS: {
        "total_count": 2,
        "runner_groups": [
            {"id": 1, "name": "Default", "visibility": "all", "default": True},
            {
                "id": 2,
                "name": "b2prod-production",
                "visibility": "selected",
                "default": False,
                "inherited": False,
                "allows_public_repositories": False,
                "restricted_to_workflows": True,
                "selected_workflows": [f"belle2/pipelines/.github/workflows/launch.yml@{'a' * 40}"],
                "workflow_restrictions_read_only": False,
            },
        ],
    },
    f"{_GROUPS}/2/repositories": {
        "total_count": 1,
        "repositories": [{"id": 7, "name": NAME, "full_name": PROJECT}],
    },
    f"{_REPOSITORY}/environments/production": {
        "id": 3,
        "name": "production",
        "protection_rules": [{"id": 4, "type": "branch_policy"}],
        "deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True},
    },
    f"{_REPOSITORY}/environments/production/deployment-branch-policies": {
        "total_count": 1,
        "branch_policies": [{"id": 5, "name": "main", "type": "branch"}],
    },
    f"{_REPOSITORY}/actions/secrets": {"total_count": 1, "secrets": [{"name": "DOCS_KEY"}]},
    f"{_REPOSITORY}/actions/variables": {
        "total_count": 1,
        "variables": [{"name": "B2PROD_LAUNCH", "value": "pipeline"}],
    },
    f"{_REPOSITORY}/actions/permissions/workflow": {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": False,
    },
}


class SettingsForge:
    """A forge with safe settings. `data` maps paths to JSON answers, `refused` maps paths to error statuses."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.data = copy.deepcopy({"gitlab": GITLAB, "github": GITHUB}[kind])
        self.refused: dict[str, int] = {}
        self.answers: dict = {}
        self.seen: list = []
        self.server = serve(self)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def find(self, path, query):
        for pattern, status in self.refused.items():
            if re.search(pattern, path):
                return status, {"message": "Branch not protected" if "protection" in path else f"{status} no"}
        if path not in self.data:
            return 404, {"message": "404 Not found"}
        return 200, self.data[path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
