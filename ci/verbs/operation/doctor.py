"""Is everything here that a site needs, or as a forge has to be set, and what would go wrong: doctor."""

from __future__ import annotations

import os
from collections.abc import Iterator

import rich_click as click
from rich.text import Text

from ci.approvals.gate import check_anchor
from ci.approvals.root import read_pinned, read_pinned_sites
from ci.changes.project import Project, Settings, load
from ci.cli.console import make_table, print_json, print_table, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.review.forges import ForgePlace, GitHub, GitLab
from ci.review.github_settings import GitHubSettings
from ci.review.gitlab_settings import GitLabSettings
from ci.review.pipeline_settings import Setting
from reconciler.ledger.store.database import has_database, reading, refuse_version
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
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
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
    sites = repository.sites
    if site is not None and (broken := [one for one in findings if one.place.file == f"{SITES}/{site}.yaml"]):
        raise FoundProblems(broken)
    if site is not None and site not in sites:
        raise WrongUse(f"there is no site {site}; known are {', '.join(sorted(sites))}")
    chosen = [sites[site]] if site is not None else [sites[name] for name in sorted(sites)]
    found = [*check_state(project.state), *_check_trust(project, settings.trust)]
    try:
        pinned = read_pinned_sites(project.state, check_anchor(settings.trust))
    except SourceUnavailable:
        chosen, pinned = [], {}  # the ledger's own complaint says it
    for described in chosen:
        trusted = pinned.get(described.name)
        if trusted != described:
            found.append(Symptom(described.name, "trust root", _tell_unpinned(described.name, trusted)))
        if trusted is not None:
            found += check_site(trusted, project.state)
    grave = sum(one.complaint is not None and one.complaint.fatal for one in found)
    if as_json:
        print_json([_describe(one) for one in found])
    else:
        table = make_table("site", "looked at", "", "what is wrong, and what to do")
        for one in found:
            row = (one.site, one.looked_at, _judge(one.complaint), _tell(one.complaint))
            table.add_row(*map(Text, row))  # what is wrong may name things in brackets, which are not markup
        print_table(table)
        say("nothing stands in the way" if not grave else f"{grave} of these must be corrected first")
    refuse_version(project.state)
    return Exit.FINDINGS if grave else Exit.FINE


def _check_forge(gitlab: str | None, github: str | None, name: str | None, *, as_json: bool) -> int:
    address = gitlab or github
    if address is None or (gitlab and github) or not name:
        raise WrongUse("say which: --gitlab ADDRESS or --github ADDRESS, and --project NAME")
    place, token = ForgePlace(address, name), os.environ.get("B2PROD_DOCTOR_TOKEN", "")
    found = (
        GitLabSettings(GitLab(place, token)).look() if gitlab else GitHubSettings(GitHub(place, token)).look()
    )
    grave, unknown = (sum(one.state == state for one in found) for state in ("wrong", "unknown"))
    if as_json:
        print_json([_describe_setting(one) for one in found])
    else:
        table = make_table("looked at", "", "what is so, and what to do")
        for one in found:
            told = f"{one.what}: {one.remedy}" if one.what else ""
            table.add_row(*map(Text, (one.looked_at, one.state, told)))
        print_table(table)
        say(_sum_up(grave, unknown))
    if grave:
        return Exit.FINDINGS
    return Exit.UNAVAILABLE if unknown else Exit.FINE


def _sum_up(grave: int, unknown: int) -> str:
    if grave:
        return f"{grave} of these must be corrected before a pipeline may launch" + (
            f"; {unknown} are unknown" if unknown else ""
        )
    return f"{unknown} of these are unknown" if unknown else "nothing is wrong, as far as the forge tells"


def _describe_setting(setting: Setting) -> dict[str, str]:
    described = {"looked_at": setting.looked_at, "state": setting.state}
    return described | ({"what": setting.what, "mend": setting.remedy} if setting.what else {})


def _check_trust(project: Project, anchor: str | None) -> Iterator[Symptom]:
    try:
        if has_database(project.state):
            with reading(project.state) as connection:
                read_pinned(connection, check_anchor(anchor))
            yield Symptom(HERE, "trust root")
    except GuardRefused as refused:
        yield Symptom(HERE, "trust root", Complaint(str(refused), "`b2prod trust show` tells more"))
    except SourceUnavailable:
        return  # the ledger's own complaint says it


def _tell_unpinned(name: str, trusted: Site | None) -> Complaint:
    file = f"{SITES}/{name}.yaml"
    if trusted is None:
        what = f"{file} is in no pinned trust root, so nothing that it names is run, opened or looked at"
        return Complaint(what, "look at it, then pin it: `b2prod trust show`, `b2prod trust pin`")
    what = f"{file} is not as it is pinned; the site was examined as pinned"
    return Complaint(what, "administrators sign a new root (`b2prod trust sign`)", fatal=False)


def _judge(complaint: Complaint | None) -> str:
    if complaint is None:
        return "fine"
    return "wrong" if complaint.fatal else "note"


def _tell(complaint: Complaint | None) -> str:
    return "" if complaint is None else f"{complaint.what}: {complaint.remedy}"


def _describe(symptom: Symptom) -> dict[str, str]:
    described = {"site": symptom.site, "looked_at": symptom.looked_at, "state": _judge(symptom.complaint)}
    if symptom.complaint is not None:
        described |= {"what": symptom.complaint.what, "mend": symptom.complaint.remedy}
    return described


COMMANDS = (doctor,)
