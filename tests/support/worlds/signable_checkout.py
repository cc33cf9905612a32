"""A git checkout whose campaign needs four approvals; tests choose what is committed, signed and launched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ci.approvals.assessment import demand_campaign
from ci.approvals.evidence import SIGNATURE, name_statement
from ci.approvals.gate import Gate
from ci.changes.project import Project
from ci.command_line import run
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.policy.policy import read_policy
from schemas.policy.statement import Statement
from tests.support.inputs.keys import PERSON, Circle
from tests.support.worlds.worlds import ONE_STEP, World

NOBODY = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "x"), ("EMAIL", "x@example.org"))
    },
}


class SignableCheckout(World):
    """A world with two units and a policy that asks for four people; its root is committed and pinned."""

    def __init__(
        self, root: Path, circle: Circle, campaign: str = ONE_STEP, files: Iterable[int] = (2, 1)
    ) -> None:
        super().__init__(root, campaign=campaign, files=files)
        self.circle = circle
        self.templates = load_templates()
        for name, text in circle.root().items():
            self.write(name, text)
        self.lock()
        self.git("init", "-q", "-b", "main")
        self.commit("begin")
        self.pin()

    def git(self, *words: str, **environment: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.root,
            env={**NOBODY, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str = "x", **environment: str) -> str:
        self.git("add", "-A", "productions")
        self.git("commit", "-q", "--allow-empty", "-m", message, **environment)
        return self.git("rev-parse", "HEAD")

    def statement(self, role: str, person: str | None = None, **changes) -> Statement:
        tree, _ = read_tree(self.root)
        policy, _ = read_policy(tree)
        repository = self.repository()
        demand = demand_campaign(policy, repository.campaigns["proc7"], repository.sites["local"])
        now = datetime.now(UTC).replace(microsecond=0)
        made = Statement(
            subject=demand.subject,
            digest=demand.scopes[policy.roles.role(role).scope],
            action=demand.action,
            role=role,
            principal=person or PERSON[role],
            repository=policy.roles.repository,
            environment=policy.roles.environment,
            policy=policy.digest,
            not_before=now - timedelta(minutes=1),
            not_after=now + timedelta(days=30),
            generation=demand.since[policy.roles.role(role).scope],
        )
        return replace(made, **changes)

    def sign(self, *roles: str, person: str | None = None, key: str | None = None, **changes) -> list[Path]:
        """Writes signed statements; returns their files."""
        files = []
        for role in roles:
            made = self.statement(role, person, **changes)
            name = name_statement("productions/campaigns/proc7/approvals", made.digest, role, made.principal)
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(made.data())
            file.with_name(file.name + SIGNATURE).write_bytes(
                self.circle.key(key or made.principal).sign(made.data())
            )
            files.append(file)
        return files

    def gate(self, clock=None) -> Gate:
        project = Project(self.root, self.state)
        return Gate(project, self.repository(), *([] if clock is None else [clock]))

    def call(self, *words: object) -> int:
        return run(["--root", str(self.root), *map(str, words)])

    def launch(self) -> int:
        """`b2prod reconcile --once proc7`."""
        return self.call("reconcile", "--once", "proc7")
