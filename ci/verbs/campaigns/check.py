"""Manifests against schemas and rules: check."""

from __future__ import annotations

import rich_click as click

from ci.changes.project import Project, is_about, judge_files, list_folders, load, passes_project
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import Exit
from ci.cli.findings import FORMATS
from ci.cli.options import refuse_unknown_name
from schemas.files.tree import SCHEMES
from schemas.findings.finding import Finding
from schemas.manifest.known_issue import KNOWN_ISSUES
from schemas.policy.retention import RETENTION
from schemas.policy.retirement import RETIREMENTS
from schemas.policy.validation import VALIDATIONS


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="text",
    help="How findings are written; gitlab and github are for those forges.",
)
@passes_project(any_version=True, commits=True)
def check(project: Project, names: tuple[str, ...], form: str) -> int:
    """Check every manifest against the schemas and rules; needs no network.

    With NAMES, this shows only findings in those campaigns, and in what all campaigns share. With --base, it judges a change
    too: what was launched stays as it is, names are not used again, and a campaign comes without other changes. Commits are
    read from git's objects, so that files that are not committed do not count. A campaign with a lock on the base counts as
    launched; an export of the state of today says it exactly, and its catalogue proves the locks of the change.
    """
    repository, findings = load(project)
    if project.change is not None:
        from ci.changes.gates import judge_change, list_locked  # noqa: PLC0415 -- see `ci.changes.project`

        before, _ = judge_files(project.change.before, ())
        launched, proven = None, tuple[Finding, ...]()
        if project.origin is not None:
            from ci.changes.lock_check import prove_locks  # noqa: PLC0415 -- see `ci.changes.project`
            from reconciler.ledger.reading.observation import list_begun  # noqa: PLC0415 -- see `ci.changes.project`
            from reconciler.ledger.store.database import reading  # noqa: PLC0415 -- see `ci.changes.project`

            with reading(project.state) as connection:
                launched = frozenset(list_begun(connection))
                if not project.origin.is_stale:
                    change = project.change
                    proven = tuple(prove_locks(connection, change, before, repository, launched, findings))
            launched |= list_locked(before) if project.origin.is_stale else frozenset()
        judged = judge_change(project.change, before, repository, launched)
        findings = tuple(sorted({*findings, *judged, *proven}))
    if names:
        known = sorted(list_folders(project))
        for name in names:
            refuse_unknown_name("campaign", name, known)
        shared = (f"{RETIREMENTS}/", f"{VALIDATIONS}/", f"{SCHEMES}/", f"{KNOWN_ISSUES}/", RETENTION)
        findings = tuple(one for one in findings if is_about(one, names) or one.place.file.startswith(shared))
    print_data(FORMATS[form](findings))
    if findings:
        say(f"{count_things(len(findings), 'finding')}; `b2prod explain {findings[0].code}` tells more")
        return Exit.FINDINGS
    counted = {"campaign": repository.campaigns, "skim": repository.skims, "site": repository.sites}
    counted |= {"scheme": repository.schemes} if repository.schemes else {}
    counted |= {"known issue": repository.known_issues} if repository.known_issues else {}
    told = ", ".join(count_things(len(there), what) for what, there in counted.items())
    say(f"{told}: no findings")
    return Exit.FINE
