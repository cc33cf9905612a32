"""Shows a pull request to its reviewers: review, post."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from ci.changes.project import Settings, reads_commits, reads_exports
from ci.cli.console import print_data, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.findings import FORMATS
from ci.cli.options import EXISTING_FILE, FOLDER
from ci.review.forges import ForgePlace, GitHub, GitLab
from ci.review.summary import Review, gather_review
from ci.review.text import MARKER, count_for_forge, format_review
from ci.verbs.campaigns.plan import store_plan
from reconciler.outside.errors import SourceUnavailable

COMMENT = "comment.md"
WRITTEN = (COMMENT, "terraform.json", "codequality.json", "findings.sarif", "plan.json")
"""The files that a review may write."""


@click.command()
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    help="Write comment.md, and what forges draw from: plan.json, terraform.json, codequality.json, findings.sarif.",
)
@click.option(
    "--try-events",
    type=click.IntRange(1),
    metavar="N",
    envvar="B2PROD_TRY_EVENTS",
    help="Also try campaigns on the first N events of a run, in scratch on this machine, which must see the data.",
)
@reads_commits
@reads_exports
@click.pass_obj
def review(
    settings: Settings,
    output: Path | None,
    try_events: int | None,
    base: str | None,
    head: str | None,
    export: Path | None,
) -> int:
    """Show reviewers what a change starts: units, costs, differences, reasons, missing approvals and risks.

    The change is read from git's objects. Templates, schemas and rules are those of this checkout, which should be the
    base. If the state cannot be read, the review says so, and ends with 4. A trial never changes how the review ends; scripts
    and deviations, which nobody has approved yet, are not tried.
    """
    if base is None:
        raise WrongUse("say what the change is held against, as in --base origin/main")
    if output is not None:
        for name in WRITTEN:  # if this review fails, older files must not be taken for it
            (output / name).unlink(missing_ok=True)
    missing = ""
    try:
        project = settings.project(base, head, export)
    except SourceUnavailable as error:
        project, missing = settings.project(base, head), str(error)
    if project.change is None:
        raise WrongUse("there is no change to review")
    made = gather_review(project, project.change, datetime.now(UTC), missing, try_events=try_events)
    files = _write(made)
    if output is None:
        print_data(files[COMMENT])
    else:
        output.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (output / name).write_text(content, "utf-8")
        say(f"wrote {', '.join(files)} to {output}")
    if made.findings:
        return Exit.FINDINGS
    return Exit.UNAVAILABLE if made.unplanned and made.campaigns else Exit.FINE


@click.command()
@click.argument("file", type=EXISTING_FILE)
@click.option("--gitlab", metavar="ADDRESS", help="The GitLab that has the merge request.")
@click.option("--github", metavar="ADDRESS", help="The API of the GitHub that has the pull request.")
@click.option("--project", required=True, help="Its project: OWNER/NAME, or an id of GitLab.")
@click.option("--number", required=True, type=click.IntRange(min=1), help="The number of the request there.")
def post(file: Path, gitlab: str | None, github: str | None, project: str, number: int) -> None:
    """Post a review on the pull request, as one comment; later reviews edit this comment.

    The token is in B2PROD_FORGE_TOKEN; it needs only the right to comment.
    """
    address = gitlab or github
    if address is None or (gitlab and github):
        raise WrongUse("say where: --gitlab ADDRESS or --github ADDRESS")
    token = os.environ.get("B2PROD_FORGE_TOKEN")
    if not token:
        raise WrongUse("there is no token in B2PROD_FORGE_TOKEN")
    text = file.read_text("utf-8")
    if not text.startswith(f"{MARKER}\n"):
        raise WrongUse(f"{file} is not a review; `b2prod review -o DIR` writes one")
    forge = (GitLab if gitlab else GitHub)(ForgePlace(address, project, number), token)
    say(f"{forge.post(text, MARKER)} the comment on {project} {number}")


def _write(made: Review) -> Mapping[str, str]:
    files = {
        COMMENT: format_review(made),
        "terraform.json": json.dumps(count_for_forge(made)) + "\n",
        "codequality.json": FORMATS["gitlab"](made.findings),
        "findings.sarif": FORMATS["sarif"](made.findings),
    }
    if made.plan is not None:
        files["plan.json"] = store_plan(made.plan, made.origin)
    return files
