"""Writes what people look at: report."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from ci.changes.project import Project, passes_project
from ci.cli.console import count_things, print_json, say
from ci.cli.options import FOLDER, writes_json
from reconciler.ledger.store.database import reading


@click.command()
@click.option(
    "-o", "--output", type=FOLDER, required=True, help="The folder of the site; new, or a site already."
)
@writes_json
@passes_project(exports=True)
def report(project: Project, output: Path, as_json: bool) -> None:
    """Write the static site: what needs a person, the run summary, campaigns, datasets, plots, and all of it as JSON.

    It is opened from the file system or put on any web server; it needs nothing from elsewhere. Only files that changed are
    written, so it may be called after each turn.
    """
    from ci.site.content import read_content  # noqa: PLC0415 -- numbers and templates load slowly
    from ci.site.pages import write_site  # noqa: PLC0415 -- the same
    from ci.site.site_folder import SiteFolder  # noqa: PLC0415 -- the same
    from reconciler.ledger.schema.rows import without_collection  # noqa: PLC0415 -- the same

    begun = time.monotonic()
    with reading(project.state) as connection:
        folder = SiteFolder(output)
        with without_collection():
            content = read_content(project, connection, datetime.now(UTC))
            write_site(folder, connection, content)
    first = output / "index.html"
    if as_json:
        print_json(
            {"index": str(first), "files": folder.count, "changed": folder.changed, "bytes": folder.size}
        )
        return
    took = f"{time.monotonic() - begun:.1f} s"
    say(
        f"wrote {count_things(folder.changed, 'file')} of {folder.count:,} ({folder.size / 1e6:,.1f} MB) in {took}; open {first}"
    )
