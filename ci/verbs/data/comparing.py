"""Compares a dataset with a reference by declared criteria: compare."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.root import find_pinned_validations
from ci.changes.project import Project, load_any, pass_project
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import FOLDER, read_runs, refuse_unknown_name
from ci.reports.comparison import format_comparison, format_comparison_markdown
from ci.verbs.data.dataset_choice import find_dataset, load_heads, read_name
from reconciler.datasets.editions import Edition, choose_runs, read_edition
from reconciler.ledger.reading.comparisons import read_comparison
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.editions import keep_comparison
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.planning.declared_heads import read_head
from reconciler.validation.comparison import Comparison
from reconciler.validation.edition_comparison import compare_editions
from reconciler.validation.results import ValidationVerdict
from schemas.manifest.dataset import DATASET_FORM, DatasetName
from schemas.manifest.runs import format_runs
from schemas.policy.validation import VALIDATIONS, Validation
from schemas.repository import Repository

_ENDS: Mapping[ValidationVerdict, Exit] = {
    ValidationVerdict.PASS: Exit.FINE,
    ValidationVerdict.WARN: Exit.FINDINGS,
    ValidationVerdict.FAIL: Exit.FINDINGS,
    ValidationVerdict.INCONCLUSIVE: Exit.PARTLY,
}


@click.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="[B]", required=False)
@click.option(
    "--by", metavar="NAME", help=f"The criteria: {VALIDATIONS}/NAME.yaml; needed if there are several."
)
@click.option("--run", "--runs", "which", metavar="RUNS", help="Only these runs, as in 3:529-613,620.")
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: canonical, on one line.")
@click.option("--keep", is_flag=True, help="Keep it in the ledger; `b2prod compare DIGEST` shows it again.")
@click.option(
    "-o", "--output", type=FOLDER, help="Also write it as text, Markdown and JSON into this folder."
)
@click.option(
    "--plots",
    type=FOLDER,
    help="Also draw plots into this folder: of each quantity, and of each skim's rate.",
)
@click.option(
    "--shown-to",
    type=click.Choice(["shifter", "expert"]),
    default="expert",
    help="shifter: leave what is for experts out of tables and plots. The verdict is of all.",
)
@pass_project
def compare(
    project: Project,
    one: str,
    other: str | None,
    by: str | None,
    which: str | None,
    form: str,
    as_json: bool,
    keep: bool,
    output: Path | None,
    plots: Path | None,
    shown_to: str,
) -> int:
    """Compare the dataset A with the reference B by declared criteria: a verdict, with the evidence.

    A and B are heads or editions, as proc8/reco/mdst and proc7/reco/mdst:2. Only runs that both have are compared, the others
    are told. The criteria are those of the pinned trust root; where none is pinned, and the site's configuration names none,
    those of the checkout. The digest of a comparison that was kept, instead of A and B, shows it again.

    Ends with 0 if it passes, with 1 if it warns or fails, and with 6 if it is inconclusive: too few runs or events, or
    something that is not known. docs/validation.md says what is compared, and by which test.
    """
    if other is None:
        if plots is not None:
            raise WrongUse("a kept comparison has no histograms to plot; compare A and B again")
        content = _read_kept(project, one)
    else:
        made = _compare(project, one, other, by, which)
        content = made.content
        if plots is not None:
            _plot(made, plots, shown_to)
    told, digest = json.loads(content), sha256(content).hexdigest()
    texts = {
        "json": content.decode() + "\n",
        "markdown": format_comparison_markdown(told, digest, shown_to),
        "text": format_comparison(told, digest, shown_to),
    }
    if keep:
        with opened(project.state) as engine:
            new = keep_comparison(Writer(engine, None), content, name_user())
        say(f"{digest} is kept{'' if new else ' already'}: `b2prod compare {digest}` shows it again")
    if output is not None:
        _write(texts, output)
    print_data(texts["json" if as_json else form])
    return _ENDS[ValidationVerdict(told["verdict"])]


def _compare(project: Project, one: str, other: str, by: str | None, which: str | None) -> Comparison:
    """The comparison of two datasets."""
    names = [read_name(text) for text in (one, other)]
    for text, name in zip((one, other), names, strict=True):
        if not (name.output or name.is_held):
            raise WrongUse(f"{text} is a step; write {DATASET_FORM}")
    runs = None if which is None else read_runs(which)
    validation = _choose_validation(project, by)
    repository = load_heads(project, names)
    with reading(project.state) as connection:
        sides = []
        for name in names:
            edition = _read_edition(connection, repository, name, project.state)
            sides.append((str(name), edition if runs is None else choose_runs(edition, runs)))
        made = compare_editions(connection, sides[0], sides[1], validation)
    if not made.common:
        told = (
            f"{side.dataset} has {format_runs(side.runs, 10) or 'none'}" for side in (made.one, made.other)
        )
        of = "" if which is None else f" of {which}"
        raise WrongUse(f"A and B have no run{of} in common: {'; '.join(told)}; `dataset list` lists others")
    return made


def _read_kept(project: Project, digest: str) -> bytes:
    """The canonical JSON of a comparison that was kept.

    Raises:
        WrongUse: there is none with this digest, or it is not a digest.
    """
    if re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise WrongUse(
            f"name the reference too: `b2prod compare {digest} B`; or give the digest of a kept comparison"
        )
    with reading(project.state) as connection:
        content = read_comparison(connection, digest)
    if content is None:
        raise WrongUse(f"no comparison {digest} was kept here; `b2prod compare A B --keep` keeps one")
    return content


def _choose_validation(project: Project, by: str | None) -> Validation:
    """The criteria of the pinned root with this name, or the only ones; without a pinned root, those of the checkout.

    Criteria that cannot be read count as some of several, so that those beside them do not become the only ones.

    Raises:
        GuardRefused: the site's configuration names a root, and what is pinned does not follow it.
        WrongUse: there are none of this name, or they cannot be read, or there are several and none was named.
    """
    known = find_pinned_validations(project)
    where = "the pinned trust root"
    if known is None:
        known, where = _read_checkout(project), VALIDATIONS
        say(f"no trust root is pinned here: these are the criteria of the checkout, in {VALIDATIONS}")
    known = {name: one for name, one in known.items() if one is None or one.stated}
    hint = f"{VALIDATIONS}/NAME.yaml, and let it be signed (`b2prod trust sign`)"
    if not known:
        raise WrongUse(f"{where} has no criteria; add {hint}")
    unread = sorted(name for name, validation in known.items() if validation is None)
    if by is None and len(known) > 1:
        but = f"; not to be read: {', '.join(unread)}" if unread else ""
        raise WrongUse(f"there are several criteria; choose one: --by {' | '.join(sorted(known))}{but}")
    name = by if by is not None else next(iter(known))
    refuse_unknown_name("validation", name, sorted(known))
    found = known[name]
    if found is None:
        raise WrongUse(f"the criteria {name} in {where} cannot be read; repair {hint}")
    return found


def _read_checkout(project: Project) -> dict[str, Validation | None]:
    """The validations of the checkout, by name; one that cannot be read is None."""
    repository = load_any(project)[0]
    files = (file for file in repository.broken if file.startswith(f"{VALIDATIONS}/"))
    broken = (file.removeprefix(f"{VALIDATIONS}/").removesuffix(".yaml") for file in files)
    return {**dict.fromkeys(broken), **repository.validations}


def _read_edition(connection: Connection, repository: Repository, name: DatasetName, state: State) -> Edition:
    """The edition of this name, or what the head of a dataset is now."""
    edition = find_dataset(connection, repository, name)
    if edition is not None:
        return read_edition(connection, edition.digest)
    return read_head(connection, repository, name, state)


def _write(texts: Mapping[str, str], folder: Path) -> None:
    """Writes a comparison into a folder, in all its forms.

    Raises:
        WrongUse: it cannot be written.
    """
    endings = {"json": "json", "markdown": "md", "text": "txt"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form, text in texts.items():
            (folder / f"comparison.{endings[form]}").write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongUse(f"the comparison cannot be written to {folder}: {error.strerror}") from error


def _plot(made: Comparison, folder: Path, shown_to: str) -> None:
    """Draws the plots of a comparison into a folder.

    Raises:
        WrongUse: they cannot be written, or the libraries that draw are not installed.
    """
    try:
        from ci.reports.comparison_plots import draw_comparison  # noqa: PLC0415 -- other comparisons draw nothing

        names = draw_comparison(made, folder, shown_to)
    except ImportError as error:
        raise WrongUse(
            f"plots need {error.name}: install b2prod with its extra, `pip install 'b2prod[plots]'`"
        ) from error
    except OSError as error:
        raise WrongUse(f"the plots cannot be written to {folder}: {error.strerror}") from error
    say(f"{count_things(len(names), 'plot')} as SVG and PNG in {folder}")
