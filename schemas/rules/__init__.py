"""The rules beyond the schemas: what no file by itself can show to be wrong. They see the repository only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from schemas.findings.finding import Finding
from schemas.repository import Repository
from schemas.rules.across import check_common_paths, check_common_runs
from schemas.rules.decisions import check_decisions, check_tickets
from schemas.rules.detectors import check_detectors
from schemas.rules.deviations import (
    check_branches,
    check_deviations,
    check_modules,
    check_overrides,
    check_scans,
    check_testing_payloads,
)
from schemas.rules.keys import check_touch
from schemas.rules.limits import check_ceilings, check_restate_limits, check_restating
from schemas.rules.lines import check_lines
from schemas.rules.names import (
    check_assembled_names,
    check_campaign_cases,
    check_campaign_names,
    check_experiment_names,
    check_reserved_names,
)
from schemas.rules.queues import check_queues
from schemas.rules.references import (
    check_global_tags,
    check_locks,
    check_numbers,
    check_places,
    check_releases,
    check_running,
    check_skims,
    check_superseding,
)
from schemas.rules.retirements import check_retirements
from schemas.rules.scripts import check_arguments, check_scripts
from schemas.rules.selections import (
    check_days,
    check_exclusions,
    check_overlaps,
    check_ranges,
    check_selector_keys,
)
from schemas.rules.simulation import check_simulation
from schemas.rules.skim_tags import check_skim_tags
from schemas.rules.steps import (
    check_circles,
    check_inputs,
    check_outputs,
    check_parameters,
    check_software,
    check_step_keys,
    check_templates,
)
from schemas.rules.variants import check_variants

Rule = Callable[[Repository], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    check_campaign_names,
    check_campaign_cases,
    check_reserved_names,
    check_assembled_names,
    check_experiment_names,
    check_ranges,
    check_exclusions,
    check_overlaps,
    check_selector_keys,
    check_days,
    check_step_keys,
    check_software,
    check_inputs,
    check_circles,
    check_outputs,
    check_templates,
    check_parameters,
    check_detectors,
    check_simulation,
    check_deviations,
    check_overrides,
    check_branches,
    check_modules,
    check_scans,
    check_variants,
    check_testing_payloads,
    check_releases,
    check_global_tags,
    check_running,
    check_places,
    check_numbers,
    check_skims,
    check_scripts,
    check_arguments,
    check_skim_tags,
    check_lines,
    check_superseding,
    check_locks,
    check_common_paths,
    check_common_runs,
    check_ceilings,
    check_restating,
    check_restate_limits,
    check_queues,
    check_decisions,
    check_tickets,
    check_retirements,
    check_touch,
)
"""Every rule. A rule takes what the schemas have accepted, raises nothing, and reads nothing but the repository."""


def check_repository(repository: Repository) -> tuple[Finding, ...]:
    """What the rules object to, sorted by place, each thing once."""
    return tuple(sorted({finding for rule in RULES for finding in rule(repository)}))
