"""How statements are signed and taken back: what the verbs `approve` and `trust` share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ci.approvals.evidence import SIGNATURE, name_revocation
from ci.approvals.gate import tell_time
from ci.approvals.withdrawal import TICK
from ci.changes.project import Project
from ci.cli.console import say
from ci.cli.work_tree import write_files
from ci.ssh.signing import sign
from schemas.policy.policy import Policy
from schemas.policy.statement import REVOKE, Statement, read_statement
from schemas.policy.wire import Malformed


@dataclass(frozen=True, slots=True)
class StatementWriter:
    """Who signs, in which role, by which policy; `key` is a file, or the line of a key that the agent has."""

    project: Project
    policy: Policy
    role: str
    principal: str
    key: Path | str

    def state(
        self, subject: str, digest: str, action: str, since: datetime, days: int | None = None, **said: Any
    ) -> Statement:
        """A statement that is valid for `days`, or for as long as the policy allows."""
        roles = self.policy.roles
        return Statement(
            subject=subject,
            digest=digest,
            action=action,
            role=self.role,
            principal=self.principal,
            repository=roles.repository,
            environment=roles.environment,
            policy=self.policy.digest,
            not_before=since,
            not_after=since + timedelta(days=days or roles.validity_days),
            **said,
        )

    def write(self, file: str, statement: Statement) -> None:
        """Signs a statement, and writes it and its signature into the work tree."""
        signature = sign(statement.data(), self.policy, self.principal, self.key)
        write_files(self.project.root, {file: statement.data(), f"{file}{SIGNATURE}": signature})
        say(f"wrote {file} and its signature; commit both")

    def take_back(self, subject: str, statements: Mapping[str, bytes], person: str) -> None:
        """Writes a revocation beside each of these files, which are statements of a person in the role."""
        now = tell_time()
        for file, content in statements.items():
            digest = hashlib.sha256(content).hexdigest()
            self.write(name_revocation(file), self.state(subject, digest, REVOKE, now, of=person))


def tell_start(revocations: Iterable[bytes]) -> datetime:
    """Now, or the next second if a revocation has the current one: it ends all statements of its second."""
    now = tell_time()
    for content in revocations:
        with suppress(Malformed):
            taken = read_statement(content)
            if taken.not_before <= now < taken.not_before + TICK:
                now = taken.not_before + TICK
    return now
