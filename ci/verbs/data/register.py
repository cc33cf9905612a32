"""Registers outputs in the catalogues of their sites: register."""

from __future__ import annotations

from dataclasses import asdict

import rich_click as click

from ci.approvals.root import find_pinned_sites
from ci.changes.project import Project, choose_campaigns, load_sound, pass_project
from ci.cli.console import count_things, print_json, say
from ci.cli.exits import Exit
from ci.cli.options import writes_json
from reconciler.datasets.catalogues.registration import MOST_OUTPUTS, RegistrationResult, register_outputs
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import Writer
from reconciler.outside.errors import GuardRefused, SourceUnavailable


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=MOST_OUTPUTS, help="Register so many at a time."
)
@writes_json
@pass_project
def register(project: Project, names: tuple[str, ...], batch: int, as_json: bool) -> int:
    """Register published outputs in the file catalogue or Rucio of their site, and read them back.

    Outputs that the catalogue knows already are left alone. If the catalogue has something else under one of our names, the
    campaign is paused.
    """
    repository = load_sound(project, names, judge_locks=False)
    chosen = [one.campaign.name for one in choose_campaigns(repository, names)]
    total = RegistrationResult()
    sites = find_pinned_sites(project)
    for name in sorted({repository.campaigns[name].campaign.site for name in chosen}):
        if name not in sites:
            raise GuardRefused(f"no pinned trust root has the site {name}; see `b2prod trust show`")
        if sites[name] != repository.sites[name]:
            say(f"the site {name} is declared otherwise than it is pinned; it is used as pinned")
    with reading(project.state) as connection:
        read_identity(connection)  # without a ledger there is nothing to register
    with opened(project.state) as engine:
        writer = Writer(engine, None)
        while True:
            done = register_outputs(project.state, repository, sites, writer, chosen, limit=batch)
            total.outputs += done.outputs
            total.files += done.files
            total.bytes += done.bytes
            total.conflicts |= done.conflicts
            total.unavailable |= done.unavailable
            total.changed = sorted({*total.changed, *done.changed})
            if not done.more or not done.outputs:
                break
    if as_json:
        print_json({key: value for key, value in asdict(total).items() if key != "more"})
    else:
        for text in total.changed:
            say(text)
        said = f"{count_things(total.outputs, 'output')} registered ({count_things(total.files, 'file')}"
        say(f"{said}, {total.bytes / 1e6:,.1f} MB)")
    if total.conflicts:
        told = "; ".join(f"{name}: {text}" for name, text in total.conflicts.items())
        raise GuardRefused(f"{told}. It begins and registers nothing before `b2prod resume campaign:NAME`")
    if total.unavailable:
        raise SourceUnavailable("; ".join(f"{site}: {text}" for site, text in total.unavailable.items()))
    return Exit.FINDINGS if total.changed else Exit.FINE
