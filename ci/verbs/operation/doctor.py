"""Checks whether a site has all that it needs, and whether a forge is configured safely: doctor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import rich_click as click

from ci.approvals.root import check_anchor, find_pinned_sites, read_pinned
from ci.changes.project import Project, Settings, load
from ci.cli.console import print_json, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.cli.options import refuse_unknown_name, writes_json
from ci.cli.rows import print_rows
from ci.review.forges import ForgePlace, GitHub, GitLab
from ci.review.github_settings import GitHubSettings
from ci.review.gitlab_settings import GitLabSettings
from reconciler.ledger.store.database import State, has_database, reading, refuse_version
from reconciler.model.engine import Complaint
from reconciler.monitoring.site_checks import HERE, Symptom, check_site, check_state
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.policy.policy import SITES
from schemas.policy.site import Site


@click.command()
@click.argument("site", required=False)
@click.option("--pipeline", is_flag=True, help="Ask a forge how it keeps pipelines from the production host.")
@click.option("--gitlab", metavar="ADDRESS", help="With --pipeline: the GitLab.")
@click.option("--github", metavar="ADDRESS", help="With --pipeline: the API of the GitHub.")
@click.option("--project", "name", metavar="NAME", help="With --pipeline: OWNER/NAME, or an id of GitLab.")
@writes_json
@click.pass_obj
def doctor(
    settings: Settings,
    site: str | None,
    pipeline: bool,
    gitlab: str | None,
    github: str | None,
    name: str | None,
    as_json: bool,
) -> int:
    """Check everything that a site needs, for one site or all; nothing is submitted.

    A site is asked by its file in the pinned trust root; what a checkout says of it is compared, and never run.

    With --pipeline, look at the settings of the forge instead: runners, branches, variables, environments. The token is in
    B2PROD_DOCTOR_TOKEN, and should be one that may read settings and write nothing; what it may not see is unknown. Variables
    and runners of groups above a project are not looked at.
    """
    if pipeline:
        if site is not None:
            raise WrongUse("--pipeline looks at a forge, and takes no site")
        return _check_forge(gitlab, github, name, as_json=as_json)
    if gitlab or github or name:
        raise WrongUse("--gitlab, --github and --project go with --pipeline")
    project = settings.project(any_version=True)
    repository, findings = load(project)
    if site is not None:
        if broken := [one for one in findings if one.place.file == f"{SITES}/{site}.yaml"]:
            raise FoundProblems(broken)
        refuse_unknown_name("site", site, sorted(repository.sites))
    chosen = sorted(repository.sites) if site is None else [site]
    found = [*check_state(project.state), *_check_trust(project)]
    try:
        pinned = find_pinned_sites(project)
    except SourceUnavailable:
        chosen, pinned = [], {}  # the ledger's check reports this
    for one in chosen:
        found += _check_site(repository.sites[one], pinned.get(one), project.state)
    grave = sum(one.complaint is not None and one.complaint.fatal for one in found)
    said = f"{grave} of these must be corrected first" if grave else "nothing stands in the way"
    _print(map(_describe_symptom, found), ("site", "looked at"), said, as_json=as_json)
    refuse_version(project.state)
    return Exit.FINDINGS if grave else Exit.FINE


def _check_forge(gitlab: str | None, github: str | None, name: str | None, *, as_json: bool) -> int:
    address = gitlab or github
    if address is None or (gitlab and github) or not name:
        raise WrongUse("say which: --gitlab ADDRESS or --github ADDRESS, and --project NAME")
    place, token = ForgePlace(address, name), os.environ.get("B2PROD_DOCTOR_TOKEN", "")
    check = GitLabSettings(GitLab(place, token)) if gitlab else GitHubSettings(GitHub(place, token))
    found = check.look()
    grave, unknown = (sum(one.state == state for one in found) for state in ("wrong", "unknown"))
    described = (_describe(one.state, one.what, one.remedy, looked_at=one.looked_at) for one in found)
    _print(described, ("looked at",), _sum_up(grave, unknown), as_json=as_json)
    if grave:
        return Exit.FINDINGS
    return Exit.UNAVAILABLE if unknown else Exit.FINE


def _sum_up(grave: int, unknown: int) -> str:
    told = [f"{grave} of these must be corrected before a pipeline may launch"] if grave else []
    told += [f"{unknown} of these are unknown"] if unknown else []
    return "; ".join(told) or "nothing is wrong, as far as the forge tells"


def _check_trust(project: Project) -> Iterator[Symptom]:
    try:
        if has_database(project.state):
            with reading(project.state) as connection:
                read_pinned(connection, check_anchor(project.trust))
            yield Symptom(HERE, "trust root")
    except GuardRefused as refused:
        yield Symptom(HERE, "trust root", Complaint(str(refused), "`b2prod trust show` tells more"))
    except SourceUnavailable:
        return  # the ledger's check reports this


def _check_site(declared: Site, pinned: Site | None, state: State) -> Iterator[Symptom]:
    """Checks a site as pinned, and whether the pinned site is the declared one."""
    name, file = declared.name, f"{SITES}/{declared.name}.yaml"
    if pinned is None:
        what = f"{file} is in no pinned trust root, so nothing that it names is run, opened or looked at"
        remedy = "look at it, then pin it: `b2prod trust show`, `b2prod trust pin`"
        yield Symptom(name, "trust root", Complaint(what, remedy))
        return
    if pinned != declared:
        what = f"{file} is not as it is pinned; the site was examined as pinned"
        remedy = "administrators sign a new root (`b2prod trust sign`)"
        yield Symptom(name, "trust root", Complaint(what, remedy, fatal=False))
    yield from check_site(pinned, state)


def _describe_symptom(symptom: Symptom) -> dict[str, str]:
    where = {"site": symptom.site, "looked_at": symptom.looked_at}
    complaint = symptom.complaint
    if complaint is None:
        return _describe("fine", "", "", **where)
    return _describe("wrong" if complaint.fatal else "note", complaint.what, complaint.remedy, **where)


def _describe(state: str, what: str, remedy: str, **where: str) -> dict[str, str]:
    return {**where, "state": state, **({"what": what, "mend": remedy} if what else {})}


def _print(found: Iterable[dict[str, str]], where: Sequence[str], said: str, *, as_json: bool) -> None:
    """Writes results as JSON, or as a table that begins with the columns `where` and a final line."""
    if as_json:
        print_json([*found])
        return
    cells = [(*one.values(),) for one in found]
    state = len(where)
    rows = [(*row[: state + 1], ": ".join(row[state + 1 :])) for row in cells]
    print_rows((*where, "", "what is wrong, and what to do"), rows)
    say(said)
