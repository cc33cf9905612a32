"""Compares two editions, with all that the ledger and their published files tell of both. Only reads."""

from __future__ import annotations

from sqlalchemy import Connection

from reconciler.datasets.editions import Edition
from reconciler.datasets.output_digests import digest_edition
from reconciler.run_catalogue.luminosity import read_luminosity
from reconciler.validation.branch_files import read_branches
from reconciler.validation.comparison import Comparison, compare_productions, list_common
from reconciler.validation.event_files import read_event_pairs
from reconciler.validation.histogram_files import read_histograms
from reconciler.validation.production_facts import read_facts
from reconciler.validation.rate_checks import pair_skims
from schemas.policy.validation import Validation


def compare_editions(
    connection: Connection, one: tuple[str, Edition], other: tuple[str, Edition], validation: Validation
) -> Comparison:
    """The comparison of an edition with its reference `other`, each with its name; without a run of both, its `common` is empty.

    Files of histograms are read if the criteria compare histograms, or events: they tell which of these are error-flagged.
    So are files of the datasets, in a few runs, if they compare branches, and all files of skims if they compare pairs of events.
    """
    facts = [read_facts(connection, name, edition) for name, edition in (one, other)]
    common = list_common(facts[0], facts[1])
    histograms = None
    if validation.checks.need_histograms or validation.checks.events is not None:
        quantities = validation.quantities if validation.checks.need_histograms else ()
        histograms = read_histograms(connection, (one, other), common, quantities)
    branches = None
    if validation.checks.branches is not None:
        branches = read_branches(connection, (one, other), common)
    events = None
    if validation.checks.need_events:
        events = read_event_pairs(connection, (one, other), pair_skims(facts[0], facts[1], common))
    measured = read_luminosity(connection, common)
    made = digest_edition(connection, one[1], common), digest_edition(connection, other[1], common)
    return compare_productions(facts[0], facts[1], validation, measured, histograms, branches, events, made)
