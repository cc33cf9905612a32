"""What a pull request shows to its reviewers: review."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import rich_click as click

from ci.console import print_data, say
from ci.exits import Exit, WrongUse
from ci.findings import FORMATS
from ci.project import Settings, reads_commits, reads_exports
from ci.review import Review, gather_review
from ci.review_text import count_for_forge, format_review
from ci.verbs.produce import store_plan
from reconciler.database import SourceUnavailable

COMMENT = "comment.md"


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write comment.md, and what forges draw from: plan.json, terraform.json, codequality.json, findings.sarif.",
)
@reads_commits
@reads_exports
@click.pass_obj
def review(
    settings: Settings, output: Path | None, base: str | None, head: str | None, export: Path | None
) -> int:
    """Tell reviewers what a change sets off: what, how much, what is different, why, who must approve, what is risky.

    The change is read from git's objects; templates, schemas and rules are those of this checkout, which should be the
    base. Where the state cannot be had, the review says so, and ends with 4.
    """
    if base is None:
        raise WrongUse("say what the change is held against, as in --base origin/main")
    missing = ""
    try:
        project = settings.project(base, head, export)
    except SourceUnavailable as error:
        project, missing = settings.project(base, head), str(error)
    if project.change is None:
        raise WrongUse("there is no change to review")
    made = gather_review(project, project.change, datetime.now(UTC), missing)
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


COMMANDS = (review,)
