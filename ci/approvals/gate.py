"""The gate: only approved launches pass, and every doubt refuses. It is an adapter of the port `LaunchPermission`.

The approved content is the committed one: in a git repository, manifest, lock and statements are read from the commit of
the work tree, and the launch must agree with them exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ci.approvals.assessment import assess_campaign, assess_retirement, require_roles
from ci.approvals.committed import count_making, describe_launch, pin_declared, read_declared, tell_commit
from ci.approvals.memory import recall, record_taken_back
from ci.approvals.root import (
    check_anchor,
    find_pinned_validation,
    read_pinned,
    read_pinned_retention,
    read_pinned_sites,
    remember,
)
from ci.approvals.sign_off_reader import SignOffReader, SignOffSources, gather_sources
from ci.approvals.text import format_refusal
from ci.approvals.verdict import Past, Verdict
from ci.changes.commits import is_contained, is_repository, name_commit, read_commit
from ci.changes.project import Project
from reconciler.ledger.reading.latest_time import bound_time, read_latest, record_latest
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import has_database, opened, reading
from reconciler.ledger.writing.trust import Launch, read_launch, record_launch
from reconciler.model.operations import Operation
from reconciler.model.plan import CampaignPlan, Plan
from reconciler.model.sign_offs import SignOffMatter
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.planning.operations.retired_outputs import SUBJECT, read_retired
from reconciler.planning.resolution import refute
from reconciler.planning.views import read_state_view
from schemas.files.canonical import digest
from schemas.files.tree import Tree, read_tree
from schemas.policy.policy import SITES, Policy
from schemas.policy.retention import RetentionPolicy
from schemas.policy.retirement import Retirement
from schemas.policy.site import Site
from schemas.policy.validation import Validation
from schemas.repository import Repository
from schemas.yaml.document import read_yaml


def tell_time() -> datetime:
    """The time now in UTC, from the reconciler's clock and never from a statement."""
    return datetime.now(UTC)


class Gate:
    """Permits launches that are approved by the pinned policy. `repository` is what would be launched.

    `proofs` are those of earlier gates for the same repository: lock and catalogue → what is wrong; empty if nothing is.
    """

    def __init__(
        self,
        project: Project,
        repository: Repository,
        clock: Callable[[], datetime] = tell_time,
        proofs: dict[tuple[str, ...], str] | None = None,
        *,
        records: bool = True,
    ) -> None:
        self._project = project
        self._repository = repository
        self._anchor = check_anchor(project.trust)
        self._clock = clock
        self._source: tuple[str | None, Tree] = (None, {})
        self._seen: set[str] = set()
        self._looked_back = not records
        self._proofs = {} if proofs is None else proofs

    def verify(self, names: Sequence[str], plan: Plan) -> Mapping[str, str]:
        """Campaign → digest of the approvals for the plan's actions. Campaigns without actions are left out.

        Raises:
            GuardRefused: an approval is missing or not valid; a table says which, and the command to run next.
            SourceUnavailable: policy or commit cannot be read.
        """
        self._look_back()
        mine = [one for one in plan.campaigns if one.campaign in names]
        wanted = [one for one in mine if count_making(one)]
        self._look([one.campaign for one in mine if not count_making(one)])
        if not wanted:
            return {}
        verdicts = self.judge({one.campaign: one for one in wanted})
        self._record(verdicts, launched=True)
        refused = [verdict for verdict in verdicts.values() if not verdict.complete]
        if refused:
            raise GuardRefused(format_refusal(refused))
        return {name: verdict.digest for name, verdict in verdicts.items()}

    def find_sites(self, repository: Repository) -> Mapping[str, Site]:  # noqa: ARG002 -- required by the port; not used
        """The sites of the pinned trust root.

        Raises:
            SourceUnavailable: the root cannot be read.
        """
        return read_pinned_sites(self._project.state, self._anchor)

    def find_validation(self, repository: Repository, name: str) -> Validation | None:  # noqa: ARG002 -- as in `find_sites`
        """The criteria of this name in the pinned trust root; None if it has none that can be read.

        Raises:
            SourceUnavailable: the root cannot be read.
        """
        return find_pinned_validation(self._project, name)

    def sort(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Returns the campaigns that may be launched or have nothing to launch, and the others with the reasons.

        Raises:
            SourceUnavailable: policy, commit or ledger cannot be read.
        """
        if not has_database(self._project.state):
            return list(names), {}
        self._look_back()
        try:
            verdicts = self.judge(dict.fromkeys(names))
        except GuardRefused as refusal:
            refused = dict.fromkeys(names, str(refusal))
        except Exception as error:  # an unexpected error in one campaign must not stop the others
            if len(names) > 1:
                return self._sort_apart(names)
            if isinstance(error, SourceUnavailable | SQLAlchemyError):
                raise
            return [], {names[0]: note_defect(error)}
        else:
            self._seen.update(names)
            self._record(verdicts)
            refused = {name: format_refusal([one]) for name, one in verdicts.items() if not one.complete}
        idle = self._list_idle(list(refused)) if refused else set()
        refused = {name: text for name, text in refused.items() if name not in idle}
        return [name for name in names if name not in refused], refused

    def _list_idle(self, names: Sequence[str]) -> set[str]:
        """The campaigns that have nothing to launch; empty if nothing can be planned."""
        state = self._project.state
        try:
            with reading(state) as connection:
                signs = self.open_sign_offs()
                state_view = read_state_view(
                    connection, self._repository, names, state, spare=True, read_sign_offs=signs
                )
        except SourceUnavailable:
            return set()
        return {one.campaign for one in state_view.plan.campaigns if not count_making(one)}

    def _sort_apart(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The result of `sort`, with each campaign judged alone. A campaign that cannot be read is refused."""
        refused: dict[str, str] = {}
        errors: list[SourceUnavailable] = []
        for name in names:
            try:
                refused |= self.sort([name])[1]
            except SourceUnavailable as error:
                errors.append(error)
                refused[name] = str(error)
        if len(errors) == len(names):
            raise errors[0]
        return [name for name in names if name not in refused], refused

    def judge(self, plans: Mapping[str, CampaignPlan | None]) -> dict[str, Verdict]:
        """The verdict on each campaign. If its plan is given, the verdict is on exactly this plan.

        Raises:
            GuardRefused: no trust root is pinned.
            SourceUnavailable: policy or commit cannot be read.
        """
        if not has_database(self._project.state):
            raise GuardRefused("nothing was recorded here yet")
        with reading(self._project.state) as connection:
            now = bound_time(connection, self._clock())
            policy = read_pinned(connection, self._anchor)
            pasts = {name: recall(connection, f"campaign/{name}") for name in plans}
            doubts = {name: self._prove(connection, policy, name, pasts[name]) for name in plans}
        verdicts: dict[str, Verdict] = {}
        for name, plan in plans.items():
            verdict = self._judge_one(policy, name, plan, pasts[name], now)
            if doubts[name] and not verdict.obstacle:
                verdict = _stop(verdict, doubts[name])
            verdicts[name] = self._warn(verdict, policy)
        return verdicts

    def _prove(self, connection: Connection, policy: Policy, name: str, past: Past) -> str:
        """Why a lock differs from what manifest, repository and catalogue give; an empty text if it does not.

        A lock that was launched is not checked: runs that no longer fit are refused one by one (`choose_runs`), and new runs
        are not taken in.
        """
        declared = self._repository.campaigns[name]
        lock, site = declared.lock, self._repository.sites[declared.campaign.site]
        before = past.launch
        if lock is None or (before and (lock.generation, lock.digest()) == (before.generation, before.lock)):
            return ""
        seen, signed = read_identity(connection), bool(require_roles(policy, declared, site))
        # editions are named by the ledger, and the others by the catalogue
        key = (name, seen.ledger, str(seen.serial), str(seen.catalogue_serial), str(signed))
        if key not in self._proofs:
            found = refute(connection, declared, self._repository, whole=signed)
            self._proofs[key] = f"{found}; run `b2prod resolve {name}`" if found else ""
        return self._proofs[key]

    def find_retention(self, repository: Repository) -> RetentionPolicy | None:  # noqa: ARG002 -- of the port
        """The retention of the pinned root, whatever the commit says.

        Raises:
            SourceUnavailable: the pinned root, or its retention, cannot be read.
        """
        return read_pinned_retention(self._project.state, self._anchor)

    def verify_operation(self, operation: Operation) -> str:
        """The digest of the approvals that permit an operation which is always signed; empty for others.

        Raises:
            GuardRefused: an approval is missing or does not hold; a table says which, and the command to run next.
            SourceUnavailable: policy or commit cannot be read.
        """
        if not operation.signed:
            return ""
        self._look_back()
        retirement = self._repository.retirements.get(operation.subject.removeprefix(SUBJECT))
        if retirement is None:
            raise GuardRefused(f"nothing that is signed declares a {operation.kind} of {operation.subject}")
        verdict = self._judge_action(retirement, operation.digest)
        if not verdict.complete:
            raise GuardRefused(format_refusal([verdict]))
        return verdict.digest

    def judge_retirement(self, retirement: Retirement) -> Verdict:
        """The verdict on a retirement, as it is committed, of the outputs that the ledger has now.

        Raises:
            GuardRefused: no trust root is pinned.
            SourceUnavailable: policy or commit cannot be read.
        """
        with reading(self._project.state) as connection:
            action = read_retired(connection, retirement).digest
        return self._judge_action(retirement, action)

    def _judge_action(self, retirement: Retirement, action: str) -> Verdict:
        with reading(self._project.state) as connection:
            now = bound_time(connection, self._clock())
            policy = read_pinned(connection, self._anchor)
            past = recall(connection, f"retirement/{retirement.name}")
        commit, tree = self._read_source()
        verdict = self._warn(assess_retirement(policy, retirement, action, tree, now, past), policy)
        file = retirement.document.file
        document = read_yaml(file, tree.get(file, b""))[0]
        if document is None or document.data != retirement.document.data:
            return _stop(verdict, f"{file} is not as it is in {tell_commit(commit)}: commit it, or undo it")
        return verdict

    def open_sign_offs(self) -> SignOffReader:
        """What says who has signed, by what is committed and recorded when it is asked first."""
        return SignOffReader(self._read_sign_off_sources)

    def judge_sign_off(self, matter: SignOffMatter) -> Verdict:
        """The verdict on a matter of a gate or a canary, by the committed statements.

        Raises:
            GuardRefused: no trust root is pinned.
            SourceUnavailable: policy or commit cannot be read.
        """
        sources = self._read_sign_off_sources()
        return self._warn(sources.judge(matter), sources.policy)

    def _read_sign_off_sources(self) -> SignOffSources:
        self._look_back()
        with reading(self._project.state) as connection:
            now = bound_time(connection, self._clock())
            policy = read_pinned(connection, self._anchor)
            return gather_sources(connection, policy, self._read_source()[1], now)

    def _warn(self, verdict: Verdict, policy: Policy) -> Verdict:
        """Adds a warning if the repository has another policy than the pinned one, which judges."""
        here = self._repository.policy
        moved = here is not None and here.digest != policy.digest
        administrators = policy.roles.administrators
        who = f"{administrators.threshold} of {', '.join(administrators.people)}"
        return replace(verdict, unpinned=who) if moved else verdict

    def _judge_one(
        self, policy: Policy, name: str, plan: CampaignPlan | None, past: Past, now: datetime
    ) -> Verdict:
        declared = self._repository.campaigns[name]
        site = self._repository.sites[declared.campaign.site]
        actions = None if plan is None else count_making(plan)
        file = f"{SITES}/{site.name}.yaml"
        if not require_roles(policy, declared, site):
            verdict = assess_campaign(policy, declared, site, {}, now, past, actions=actions)
            return self._hinder(verdict, policy, file)
        commit, tree = self._read_source()
        committed = read_declared(tree, declared.document.file)
        if committed is None:
            verdict = assess_campaign(policy, declared, site, {}, now, past, actions=actions)
            return _stop(
                verdict, f"{declared.document.file} is not in {tell_commit(commit)}, or is broken there"
            )
        verdict = assess_campaign(policy, committed, site, tree, now, past, actions=actions)
        planned = pin_declared(declared) if plan is None else dict(plan.pins)
        if any(planned.get(pin) != value for pin, value in pin_declared(committed).items()):
            return _stop(
                verdict,
                f"what would be launched is not what is in {tell_commit(commit)}: commit it, or undo it",
            )
        if verdict.merge is not None:
            verdict = self._judge_merge(verdict, verdict.merge, policy, commit)
        return self._hinder(verdict, policy, file, tree)

    def _judge_merge(self, verdict: Verdict, branch: str, policy: Policy, commit: str | None) -> Verdict:
        """For a merge that is the approval: refuses a commit that is not on the protected branch."""
        if commit is None or not is_contained(self._project.root, commit, branch):
            return _stop(verdict, f"{tell_commit(commit)} is not on the branch {branch}")
        content = {"subject": verdict.demand.subject, "scopes": dict(verdict.demand.scopes), "merge": True}
        return replace(verdict, digest=digest({**content, "policy": policy.digest}))

    def _hinder(self, verdict: Verdict, policy: Policy, file: str, tree: Tree | None = None) -> Verdict:
        """Refuses a site that differs from the pinned one: its file says what runs, where, and with which rights."""
        contents = [self._read_here(file)]
        contents += [tree.get(file, b"")] if tree is not None else []
        if all(hashlib.sha256(content).hexdigest() == policy.sites.get(file) for content in contents):
            return verdict
        return _stop(
            verdict,
            f"{file} is not as it is in the pinned trust root: administrators sign a new one (`b2prod trust sign`),"
            " and `b2prod trust pin` takes it up",
        )

    def _read_here(self, file: str) -> bytes:
        """A file as the launch uses it: of the commit that is read, else of the work tree."""
        if self._project.commit is not None:
            return self._project.commit.files.get(file, b"")
        here = self._project.root / file
        return here.read_bytes() if here.is_file() and not here.is_symlink() else b""

    def _read_source(self) -> tuple[str | None, Tree]:
        """Returns the commit and its files; without git, None and the files as they are."""
        if self._project.commit is not None:
            return self._project.commit.id, self._project.commit.files
        root = self._project.root
        if not is_repository(root):
            return None, read_tree(root)[0]
        commit = name_commit(root)
        if commit != self._source[0]:
            self._source = commit, read_commit(root, commit).files
        return self._source

    def _look(self, names: Sequence[str]) -> None:
        """Records revocations for campaigns that have nothing to launch, since the files may be gone at the next launch."""
        unseen = [name for name in names if name not in self._seen]
        self._seen.update(unseen)
        if unseen:
            with suppress(GuardRefused):  # without a trust root, no revocation counts and nothing is launched
                self._record(self.judge(dict.fromkeys(unseen)))

    def _look_back(self) -> None:
        """Records all revocations once, since the files may be gone before the next launch or pin."""
        if not self._looked_back:
            self._looked_back = True
            remember(self._project, self._anchor, self._clock())

    def _record(self, verdicts: Mapping[str, Verdict], *, launched: bool = False) -> None:
        """Records withdrawn statements, the time of the judgement, and with `launched` the launches."""
        state, now = self._project.state, self._clock()
        revoked = frozenset[str]().union(*(verdict.revoked for verdict in verdicts.values()))
        counts_from = {verdict.demand.subject: verdict.counts_from for verdict in verdicts.values()}
        record_taken_back(state, now, revoked, counts_from)
        launches: dict[str, Launch] = {}
        with reading(state) as connection:
            latest = read_latest(connection)
            for name, verdict in verdicts.items():
                launch = describe_launch(self._repository.campaigns[name], verdict)
                before = read_launch(connection, name)
                # An older b2prod did not record scopes: they follow from the launched lock.
                unknown = launch and before and before.scopes is None and before.lock == launch.lock
                if launch is not None and launch != before and (launched or unknown):
                    launches[name] = launch
        if launches or latest is None or now > latest:
            with opened(state) as engine, engine.begin() as connection:
                record_latest(connection, now)
                for name, launch in launches.items():
                    record_launch(connection, name, launch)


def _stop(verdict: Verdict, obstacle: str) -> Verdict:
    return replace(verdict, obstacle=obstacle, digest="")
