"""A repository with one campaign, its lock, and statements with real signatures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ci.approvals.assessment import assess_campaign, demand_campaign
from ci.approvals.evidence import SIGNATURE, name_statement
from ci.approvals.verdict import NO_PAST, Past, Verdict
from reconciler.ledger.writing.trust import Launch
from reconciler.planning.pinning import pin_campaign
from reconciler.planning.resolution import follow_lock
from schemas.manifest.runs import run_key
from schemas.policy.scopes import digest_scopes
from schemas.policy.statement import PRODUCE, Statement
from schemas.repository import Declared
from tests.support.inputs.keys import PERSON, Circle
from tests.support.worlds import builders

GENERATION = 3
"""The generation of the repository's first lock."""
NOW = datetime(2019, 2, 15, 9, 0, tzinfo=UTC)
RUNS = tuple(run_key(3, number) for number in (529, 530))


@dataclass
class SigningRepository:
    """A repository with one campaign to sign; `policy` is the pinned root."""

    circle: Circle
    files: dict[str, bytes] = field(default_factory=builders.tree)
    now: datetime = NOW
    past: Past = NO_PAST
    runs: tuple[int, ...] = RUNS

    def __post_init__(self) -> None:
        self.policy = self.circle.policy()
        self.lock()

    def lock(self) -> None:
        """Resolves the campaign, as its author would."""
        declared = self._read()
        if declared.lock is None:
            lock = pin_campaign(declared, self.repository, self.runs, GENERATION)
        else:
            lock = follow_lock(declared, self.repository, self.runs)
        self.files[builders.FILES["lock"]] = lock.text().encode()

    def change(self, file: str, *edits: tuple[str, str], lock: bool = True) -> None:
        name = builders.FILES[file]
        self.files[name] = builders.swap(self.files[name].decode(), *edits).encode()
        if lock:
            self.lock()

    def pretend(self, **since: int) -> None:
        """Edits the lock to state other generations of the last changes; its digests stay right."""
        declared = self._read()
        edited = replace(declared.lock, since=tuple(sorted({**dict(declared.lock.since), **since}.items())))
        scopes = digest_scopes(edited, declared.campaign, declared.document.data)
        self.files[builders.FILES["lock"]] = replace(edited, scopes=scopes).text().encode()

    def launched(self) -> None:
        """Records in the ledger that this was launched."""
        lock = self._read().lock
        since = dict(lock.since)
        scopes = {name: (value, since[name]) for name, value in lock.scopes}
        self.past = Past(launch=Launch(lock.generation, lock.digest(), "", scopes))

    def _read(self) -> Declared:
        self.repository, _ = builders.read(self.files)
        return self.repository.campaigns["proc7"]

    def statement(self, role: str, person: str | None = None, **changes) -> Statement:
        demand = demand_campaign(self.policy, self._read(), self.repository.sites["local"])
        scope = self.policy.roles.role(role).scope
        made = Statement(
            subject=demand.subject,
            digest=demand.scopes.get(scope, "0" * 64),
            action=PRODUCE,
            role=role,
            principal=person or PERSON[role],
            repository="belle2/productions",
            environment="production",
            policy=self.policy.digest,
            not_before=self.now,
            not_after=self.now + timedelta(days=60),
            generation=demand.since.get(scope),
        )
        return replace(made, **changes)

    def sign(self, *roles: str, person: str | None = None, key: str | None = None, **changes) -> str:
        """Writes statements with signatures in these roles; returns the file of the last one."""
        file = ""
        for role in roles:
            made = self.statement(role, person, **changes)
            folder = "productions/campaigns/proc7/approvals"
            file = name_statement(folder, made.digest, role, made.principal)
            self.files[file] = made.data()
            self.files[file + SIGNATURE] = self.circle.key(key or made.principal).sign(made.data())
        return file

    def verdict(self, actions: int | None = None) -> Verdict:
        declared = self._read()
        return assess_campaign(
            self.policy,
            declared,
            self.repository.sites["local"],
            self.files,
            self.now,
            self.past,
            actions=actions,
        )

    def missing(self, actions: int | None = None) -> str:
        """The roles that are not filled."""
        return " ".join(need.role for need in self.verdict(actions).needs if need.missing)

    def reasons(self, actions: int | None = None) -> set[str]:
        return {one.refused for one in self.verdict(actions).approvals if one.refused}
