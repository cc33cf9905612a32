"""Whether the rest of a campaign may follow its canary: the comparison with the reference, and who signed it.

Compared is what the steps make that read none of the campaign's own steps, as far as the reference has it from the same step under
the same name. What other steps make of it, as skims, belongs to that comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from reconciler.datasets.editions import Edition, choose_runs, collect_made, read_edition
from reconciler.ledger.reading.editions import find_edition
from reconciler.ledger.reading.heads import choose_heads, narrow_runs
from reconciler.ledger.schema.tables import outputs
from reconciler.ledger.store.database import State
from reconciler.model.sign_offs import SignOffMatter, SignOffs
from reconciler.planning.views import View
from reconciler.validation.results import ValidationVerdict, find_worst
from schemas.files.canonical import digest
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import format_runs, run_key
from schemas.policy.validation import Validation

if TYPE_CHECKING:
    from reconciler.validation.comparison import Comparison

CANARY = "canary"
"""The kind of a canary's sign-offs, as in `canary/proc8`."""

WORST = 3
"""How many rows of a check are shown to who signs."""


@dataclass(frozen=True, slots=True)
class CanaryComparison:
    """The comparisons of a canary's runs with the reference. `lacking` is why there is none; else it is empty."""

    campaign: str
    runs: tuple[int, ...]
    comparisons: tuple[Comparison, ...] = ()
    lacking: str = ""

    @property
    def verdict(self) -> ValidationVerdict:
        """The worst verdict; without a comparison it is inconclusive."""
        return find_worst(one.verdict for one in self.comparisons)

    def open_matter(self) -> SignOffMatter:
        """What people sign to let a warning pass: by the roles that answer for verdicts."""
        compared = [
            {
                "digest": one.digest,
                "verdict": one.verdict.value,
                "compared": one.one.dataset,
                "against": one.other.dataset,
            }
            for one in self.comparisons
        ]
        facts = {"campaign": self.campaign, "runs": format_runs(self.runs), "comparisons": compared}
        return SignOffMatter(f"{CANARY}/{self.campaign}", facts, tuple(self._tell()), ())

    def explain(self) -> str:
        """The worst check in words, and how to look at it."""
        if not self.comparisons:
            return self.lacking
        worst = next(one for one in self.comparisons if one.verdict == self.verdict)
        found = next((one for one in worst.results if one.verdict == self.verdict), None)
        told = "nothing is checked" if found is None else f"{found.check}: {found.reason}"
        return f"{worst.one.dataset}, {told}; see `b2prod compare {worst.digest}`"

    def _tell(self) -> Iterator[str]:
        yield f"the canary of {self.campaign}: {len(self.runs)} runs, {format_runs(self.runs)}"
        if self.lacking:
            yield self.lacking
        for one in self.comparisons:
            yield f"{one.verdict.value.upper()}  {one.one.dataset} against {one.other.dataset}, on {format_runs(one.common)}"
            yield f"  editions {one.one.edition[:16]} and {one.other.edition[:16]}, by {one.validation.name}"
            if left := sorted({*self.runs} - {*one.common}):
                yield f"  not in the reference: {format_runs(left)}"
            for result in one.results:
                yield f"  {result.verdict.value:<12} {result.check}: {result.reason}"
                rows = [row for row in result.rows if row.get("verdict") != ValidationVerdict.PASS]
                yield from (f"      {_describe_row(row)}" for row in rows[:WORST])
            yield f"  `b2prod compare {one.digest}` shows all of it"


def _describe_row(row: Mapping[str, Any]) -> str:
    """The texts and numbers of a row on one line, without the verdict and what is nested."""
    told = {name: value for name, value in row.items() if name != "verdict"}
    texts = {name: f"{value:.3g}" for name, value in told.items() if isinstance(value, float)}
    texts |= {name: f"{value}" for name, value in told.items() if isinstance(value, str | int)}
    return ", ".join(f"{name} {texts[name]}" for name in told if name in texts)


def compare_canary(
    connection: Connection,
    view: View,
    runs: frozenset[int],
    validation: Validation | None,
    state: State,
    storage: str,
) -> CanaryComparison:
    """Compares what was made of a canary's runs with the reference of the campaign.

    Of the reference the newest version of each run counts, or what an edition lists.

    Raises:
        SourceUnavailable: the ledger cannot be read.
    """
    from reconciler.validation.edition_comparison import (  # noqa: PLC0415 -- turns that compare nothing need no scipy
        compare_editions,
    )

    campaign, ordered = view.campaign, tuple(sorted(runs))
    reference = campaign.reference
    if reference is None or validation is None:
        by = None if campaign.canary is None else campaign.canary.by
        what = "there is no reference" if reference is None else f"the pinned trust root has no criteria {by}"
        return CanaryComparison(campaign.name, ordered, (), what)
    kept = str(state.storage(storage)) if campaign.reuse else None
    compared = []
    for name, fingerprints in _list_datasets(view, reference):
        try:
            other, edition = _read_reference(connection, reference, name, runs)
        except LookupError as error:
            return CanaryComparison(campaign.name, ordered, (), str(error))
        wanted = {run: value for run, value in fingerprints.items() if run in runs}
        mine = collect_made(connection, name, wanted, kept)
        made = compare_editions(connection, (str(name), mine), (other, edition), validation)
        if made.common:
            compared.append(made)
    lacking = (
        ""
        if compared
        else f"{reference} has nothing of {format_runs(ordered, 10) or 'its runs'} that can be compared"
    )
    return CanaryComparison(campaign.name, ordered, tuple(compared), lacking)


def _list_datasets(view: View, reference: str) -> Iterator[tuple[DatasetName, dict[int, bytes]]]:
    """The datasets of a campaign that may be compared, each with its fingerprints by run key."""
    named = parse_dataset(reference) if "/" in reference else None
    for units in view.units:
        for output, fingerprints in units.fingerprints.items():
            wanted = (
                (named.step, named.output) == (units.step.name, output)
                if named
                else units.step.input.step is None
            )
            if wanted:
                column = dict(zip(units.runs, fingerprints, strict=True))
                yield DatasetName(view.campaign.name, units.step.name, output), column


def _read_reference(
    connection: Connection, reference: str, name: DatasetName, runs: frozenset[int]
) -> tuple[str, Edition]:
    """The name of the dataset with which one is compared, and what exists of it.

    Raises:
        LookupError: the edition does not exist.
    """
    other = parse_dataset(reference) if "/" in reference else DatasetName(reference, name.step, name.output)
    if other.edition is not None:
        found = read_edition(connection, find_edition(connection, other).digest)
        return str(other), choose_runs(found, runs)
    query = choose_heads(outputs.select()).where(
        outputs.c.campaign == other.campaign, outputs.c.step == other.step, outputs.c.output == other.output
    )
    newest = {
        run_key(row.experiment, row.run): row.fingerprint
        for part in narrow_runs(query, sorted(runs))
        for row in connection.execute(part)
    }
    return str(other), collect_made(connection, other, newest)


@dataclass(frozen=True, slots=True)
class CanaryState:
    """Whether the rest may follow. `reason` says why not, and whose move it is; it is empty if it may."""

    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the rest may follow."""
        return not self.reason


OPEN = CanaryState()


def judge_canary(compared: CanaryComparison, signed: SignOffs) -> CanaryState:
    """Whether the rest may follow a canary whose units are made.

    A pass opens it, and a warning that all roles for verdicts have signed. A failure is opened by no signature, and what is
    inconclusive neither: nobody has seen that it is well.
    """
    name, verdict = compared.campaign, compared.verdict
    its = f"its canary of {len(compared.runs)} runs"
    if verdict == ValidationVerdict.PASS:
        return OPEN
    if verdict == ValidationVerdict.FAIL:
        return CanaryState(f"{its} failed: {compared.explain()}; correct the campaign, no signature opens it")
    if verdict == ValidationVerdict.INCONCLUSIVE:
        return CanaryState(f"{its} is inconclusive: {compared.explain()}; the rest waits until that is known")
    if signed.complete:
        return OPEN
    roles = " and ".join(signed.missing) or "validation"
    why = "; ".join(
        [
            *([signed.obstacle] if signed.obstacle else []),
            *(f"{one.principal}: {one.reason}" for one in signed.void),
        ]
    )
    void = f" ({why})" if why else ""
    return CanaryState(
        f"{its} warns and waits for a signature of {roles}{void}: `b2prod approve --{CANARY} {name} --reason …`"
        f"; {compared.explain()}"
    )


@dataclass
class CanaryMemory:
    """The last comparison of each canary, which is made again only if something that it was made from has changed."""

    _kept: dict[str, tuple[str, CanaryComparison]] = field(default_factory=dict)

    def recall(self, campaign: str, key: str) -> CanaryComparison | None:
        """The comparison of a campaign's canary that was made from what `key` tells; None if there is none."""
        known = self._kept.get(campaign)
        return None if known is None or known[0] != key else known[1]

    def keep(self, campaign: str, key: str, compared: CanaryComparison) -> None:
        """Remembers a comparison."""
        self._kept[campaign] = key, compared


def describe_sources(
    view: View, runs: frozenset[int], serials: Sequence[Any], validation: Validation | None
) -> str:
    """A digest of all that decides a canary's comparison: the ledger as it is, what is declared, and the criteria."""
    stated = None if validation is None else validation.describe()
    return digest([*serials, [list(pin) for pin in view.declaration.pins], sorted(runs), stated])
