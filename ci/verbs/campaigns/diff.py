"""What differs between two campaigns: diff."""

from __future__ import annotations

import rich_click as click

from ci.changes.project import Settings, choose_campaigns, load_readable
from ci.cli.console import print_data, print_json, say
from ci.cli.exits import Exit
from ci.reports.campaign_diff import describe_difference, format_difference
from reconciler.planning.campaign_diff.comparison import compare_campaigns
from reconciler.planning.campaign_diff.inputs import read_both


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--exit-code", is_flag=True, help="End with 2 when more differs than names and titles.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def diff(settings: Settings, before: str, after: str, exit_code: bool, as_json: bool) -> int:
    """Show what differs between the campaigns A and B, and how many outputs of A the campaign B can reuse.

    Release, global tags and the payloads that change with the runs concerned, steering, runs, outputs; apart from
    these the site and the layout, which change no data. Needs neither locks nor a run catalogue.
    """
    project = settings.project()
    repository = load_readable(project, (before, after))
    chosen = choose_campaigns(repository, (before, after))
    one, other, basis = read_both(project.state, repository, *chosen)
    difference = compare_campaigns(one, other)
    for note in basis.notes:
        say(f"b2prod: {note}")
    if as_json:
        print_json(describe_difference(difference, basis))
    else:
        print_data(format_difference(difference, basis))
    return Exit.CHANGES if exit_code and not difference.is_nominal else Exit.FINE


COMMANDS = (diff,)
