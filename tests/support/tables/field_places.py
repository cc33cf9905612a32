"""The module that uses each field of each file; a test checks that the module reads the field."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PLACES = """
campaign kind reconciler/planning/campaign_diff/comparison.py
campaign running_jobs schemas/manifest/campaign.py
campaign supersedes[] ci/review/summary.py
campaign reuse reconciler/planning/views.py
campaign compare_with ci/review/summary.py
campaign restate.reason ci/review/text.py
campaign restate.limit schemas/manifest/campaign.py
campaign runs[] reconciler/run_catalogue/run_selection.py
campaign runs[].from reconciler/run_catalogue/run_selection.py:first
campaign release renderer/applications/basf2.py
campaign global_tags[].name reconciler/conditions/following.py
campaign global_tags[].mode reconciler/planning/restating.py
campaign global_tags[].on_change reconciler/conditions/following.py
campaign global_tags[].role schemas/manifest/campaign.py
campaign site reconciler/execution/launch/preparation.py
campaign layout reconciler/execution/launch/preparation.py
campaign steps.*.title reconciler/planning/campaign_diff/comparison.py
campaign steps.*.application renderer/jobs/job_json.py
campaign steps.*.template renderer/applications/basf2.py
campaign steps.*.input renderer/identity/units.py
campaign steps.*.input.level schemas/manifest/step.py
campaign steps.*.input.dataset reconciler/planning/sources.py
campaign steps.*.input.skim schemas/manifest/variant.py
campaign steps.*.input.skims[] schemas/manifest/step.py
campaign steps.*.outputs[] renderer/identity/fingerprint.py
campaign steps.*.produces schemas/repository.py
campaign steps.*.skims[] renderer/identity/fingerprint.py
campaign steps.*.script renderer/applications/script.py
campaign steps.*.arguments[] renderer/applications/script.py
campaign steps.*.keep[] renderer/applications/uproot.py
campaign steps.*.validation renderer/applications/uproot.py
campaign steps.*.parameters renderer/applications/uproot.py:parameters
campaign steps.*.overrides[] renderer/applications/basf2.py
campaign steps.*.overrides[].reason reconciler/model/deviations.py
campaign steps.*.overrides[].ticket reconciler/model/deviations.py
campaign steps.*.testing_payloads[] reconciler/model/deviations.py
campaign steps.*.testing_payloads[].name renderer/applications/basf2.py
campaign steps.*.additional_branches[] reconciler/model/deviations.py
campaign steps.*.scan schemas/manifest/deviation.py
campaign steps.*.scan.*.values schemas/manifest/variant.py:points
campaign steps.*.expected renderer/jobs/requests.py
campaign steps.*.split renderer/jobs/job_json.py
campaign steps.*.bundle.runs reconciler/model/bundles.py
campaign steps.*.bundle.minutes reconciler/model/bundles.py
campaign canary.runs reconciler/execution/launch/canary_choice.py:chosen
campaign canary.spread reconciler/execution/launch/canary_choice.py
campaign canary.then reconciler/execution/launch/admission.py
campaign canary.by reconciler/execution/canaries.py
campaign canary.against schemas/manifest/campaign.py
campaign limits.max_units reconciler/planning/planner.py
campaign limits.max_restate reconciler/planning/planner.py
campaign limits.max_in_flight reconciler/execution/launch/admission.py
campaign limits.max_attempts reconciler/execution/tracking/attempt_recorder.py
site title schemas/policy/site.py:
site engine reconciler/execution/sites/site_engines.py
site storage reconciler/execution/launch/preparation.py
site testing_payloads renderer/applications/basf2.py
site payloads renderer/applications/basf2.py
site runs_per_request renderer/jobs/requests.py
site hs06 reconciler/engines/gb2/unit_requests.py
site slots reconciler/execution/launch/capacity.py
site queue reconciler/engines/shared_folders.py
site queues reconciler/execution/sites/preconditions.py
site queues.*.cpu_minutes schemas/policy/site.py:
site queues.*.memory schemas/rules/limits.py
site batch reconciler/engines/shared_folders.py
site batch.python reconciler/engines/slurm/engine.py
site batch.scouts reconciler/execution/launch/preparation.py
site catalogue reconciler/datasets/catalogues/rucio.py
site catalogue.kind reconciler/datasets/catalogues/registration.py
site catalogue.auth reconciler/datasets/catalogues/registration.py
site publications ci/verbs/publications/publishing.py
site publications.*.kind reconciler/datasets/publishing/edition_places.py
site publications.*.folder reconciler/datasets/publishing/edition_places.py
site diracx reconciler/engines/diracx/engine.py
site diracx.url reconciler/engines/diracx/client.py
site diracx.user reconciler/engines/diracx/credentials.py
site diracx.token reconciler/engines/diracx/credentials.py
site diracx.key reconciler/engines/diracx/credentials.py
site diracx.job_type reconciler/engines/diracx/jobs.py
site gb2 reconciler/engines/gb2/engine.py
site gb2.resource_tag renderer/jobs/requests.py
site gb2.by_run renderer/jobs/requests.py
site contact reconciler/execution/sites/preconditions.py
site credential_minutes reconciler/execution/sites/preconditions.py
site keep_failed_days reconciler/execution/sites/site_engines.py
site keep_job_days reconciler/execution/sites/site_engines.py
site min_free reconciler/execution/sites/preconditions.py
site visibility reconciler/execution/sites/site_engines.py
site brakes.percent reconciler/execution/tracking/alarms.py
site brakes.at_least reconciler/execution/tracking/alarms.py
site windows[] reconciler/execution/sites/preconditions.py
site windows[].from reconciler/execution/sites/preconditions.py:begin
site windows[].to reconciler/execution/sites/preconditions.py:end
site windows[].utc_offset reconciler/execution/sites/preconditions.py:offset
site prestage reconciler/execution/launch/staging.py
site archive reconciler/execution/operating/tape/archiving.py
site archive.command reconciler/execution/operating/tape/commands.py
site recall reconciler/execution/operating/tape/scratch.py
site recall.command reconciler/execution/operating/tape/commands.py
site checksum reconciler/execution/operating/tape/archiving.py
site checksum.command reconciler/execution/operating/tape/commands.py
site inputs.verify renderer/jobs/job_json.py
site sources.runs[] reconciler/sources/watch.py
site sources.runs[].rundb reconciler/sources/runs.py
site sources.runs[].list reconciler/sources/runs.py
site sources.runs[].experiment reconciler/sources/runs.py
site sources.runs[].quiet reconciler/sources/runs.py
site sources.runs[].every reconciler/sources/runs.py
site sources.files[] reconciler/sources/watch.py
site sources.files[].folder reconciler/sources/files.py
site sources.files[].list reconciler/sources/files.py
site sources.files[].level reconciler/sources/files.py
site sources.files[].dataset reconciler/sources/files.py
site sources.files[].quiet reconciler/sources/files.py
site sources.files[].every reconciler/sources/files.py
site sources.tags reconciler/sources/watch.py
site sources.tags.follow reconciler/sources/tags.py
site sources.tags.every reconciler/sources/tags.py
site environment[] renderer/jobs/job_json.py
site scripts[] ci/approvals/assessment.py
site launchers renderer/applications/basf2.py:launchers
layouts layouts.*.historic renderer/jobs/grid_input.py
layouts layouts.*.folder schemas/manifest/layout.py
releases releases.*.commit reconciler/planning/pinning.py
skims skims.*.cut renderer/skims/task.py
skims skims.*.line schemas/skims/menu.py
skims skims.*.decision schemas/skims/menu.py
skims skims.*.registry renderer/jobs/requests.py
skims skims.*.combines[] schemas/skims/menu.py
roles version ci/approvals/root.py
roles expires ci/approvals/verdict.py
roles repository ci/approvals/verdict.py
roles environment ci/approvals/verdict.py
roles mode ci/approvals/assessment.py
roles branch ci/approvals/assessment.py
roles validity_days ci/approvals/verdict.py
roles touch ci/approvals/verdict.py
roles administrators ci/approvals/root.py
roles administrators.people[] ci/approvals/gate.py
roles roles ci/approvals/verdict.py
roles roles.*.people[] schemas/policy/roles.py
roles requires schemas/policy/roles.py
roles requires.exemptions[].nobody schemas/policy/roles.py:roles
roles requires.exemptions[].reason ci/approvals/root_text.py
roles delegations[] schemas/policy/roles.py
roles delegations[].for schemas/policy/roles.py:principal
roles delegations[].from schemas/policy/roles.py:first
roles delegations[].until schemas/policy/roles.py:last
roles delegations[].reason ci/approvals/root_text.py
retirement datasets[] ci/approvals/retirements.py
retirement datasets[].keep_versions reconciler/planning/operations/retired_outputs.py
retirement reason ci/approvals/retirements.py
retirement successor ci/approvals/retirements.py
retirement quarantine_days ci/approvals/retirements.py
retirement max_delete reconciler/planning/operations/retiring.py
retention rules[] schemas/policy/retention.py
retention rules[].disk reconciler/planning/retained/decisions.py
retention rules[].tape reconciler/planning/retained/decisions.py
retention rules[].versions reconciler/planning/retained/decisions.py
retention rules[].after_days reconciler/planning/retained/decisions.py
retention rules[].quarantine_days reconciler/planning/operations/old_versions.py
retention rules[].sample reconciler/execution/operating/tape/tape_operator.py
validation title ci/reports/comparison.py
validation checks.events reconciler/validation/ratio_checks.py
validation checks.retention reconciler/validation/rate_checks.py
validation checks.run_retention reconciler/validation/rate_checks.py
validation checks.stability reconciler/validation/rate_checks.py
validation checks.luminosity reconciler/validation/ratio_checks.py
validation checks.event_size reconciler/validation/ratio_checks.py
validation checks.cpu_time reconciler/validation/ratio_checks.py
validation checks.branches reconciler/validation/branch_checks.py
validation checks.histograms reconciler/validation/histogram_checks.py
validation checks.run_histograms reconciler/validation/histogram_checks.py
validation quantities.*.p reconciler/validation/histogram_checks.py
validation quantities.*.title schemas/skims/quantity.py:
validation quantities.*.expression renderer/histograms/task.py
validation quantities.*.of renderer/event_data/quantity_branches.py
validation quantities.*.count renderer/event_data/quantity_branches.py
validation quantities.*.bins renderer/histograms/filling.py
validation quantities.*.per renderer/histograms/filling.py
validation quantities.*.shown_to schemas/skims/quantity.py:
validation quantities reconciler/planning/input_check.py
lock campaign ci/approvals/assessment.py
lock generation ci/approvals/assessment.py
lock runs[] reconciler/run_catalogue/run_selection.py
lock selection reconciler/planning/resolution.py
lock open_runs reconciler/run_catalogue/run_selection.py:open_runs
lock release schemas/rules/references.py
lock commit reconciler/execution/launch/preparation.py
lock global_tags ci/approvals/decision.py
lock global_tags[].role schemas/rules/references.py
lock scripts.* ci/approvals/decision.py:scripts
lock editions.* ci/approvals/decision.py:editions
lock steps schemas/rules/references.py
lock testing_payloads schemas/rules/references.py
lock templates ci/review/risks.py
lock skims schemas/rules/references.py
lock scopes ci/approvals/assessment.py:scopes
lock site ci/approvals/assessment.py
lock site.layout schemas/rules/references.py
lock site.historic schemas/rules/references.py
statement _type schemas/policy/statement.py:
statement predicateType schemas/policy/statement.py:
statement subject ci/approvals/verdict.py:subject
statement subject[].digest ci/approvals/verdict.py:digest
statement predicate ci/approvals/verdict.py
statement predicate.policy_digest ci/approvals/verdict.py:policy
statement predicate.plan_digest ci/approvals/verdict.py:plan
statement predicate.limits ci/approvals/verdict.py:ceilings
statement predicate.comment schemas/policy/statement.py
statement predicate.of ci/approvals/withdrawal.py
snapshot name reconciler/conditions/following.py
snapshot state reconciler/conditions/metadata_file.py
snapshot digest reconciler/conditions/following.py
snapshot id reconciler/conditions/metadata_file.py
snapshot retrieved reconciler/conditions/following.py
snapshot iovs[] reconciler/conditions/metadata_file.py
snapshot iovs[].line schemas/conditions/local_database.py
allowed_signers principal schemas/policy/policy.py:items
allowed_signers key ci/approvals/verdict.py
allowed_signers after ci/approvals/verdict.py
allowed_signers before ci/approvals/verdict.py
revoked_keys key ci/approvals/verdict.py:revoked
"""
"""Kind, field or its beginning, and the module that uses it; after a colon the field's name in the module."""


def find_place(kind: str, path: str) -> tuple[str, str] | None:
    """The module that uses a field, and the field's name there; None if the table has no entry."""
    found = ("", "", "")
    for line in PLACES.strip().splitlines():
        of, prefix, place = line.split(" ")
        below = path == prefix or path.startswith((f"{prefix}.", f"{prefix}["))
        if of == kind and below and len(prefix) > len(found[0]):
            found = (prefix, *place.split(":")) if ":" in place else (prefix, place, _name(path))  # type: ignore[assignment]  # three words each
    return found[1:] if found[1] else None


def _name(path: str) -> str:
    return next(step for step in reversed(re.findall(r"[^.\[\]*]+", path)))


@cache
def list_words(module: str) -> frozenset[str]:
    """The attributes and the texts in a module."""
    nodes = list(ast.walk(ast.parse((ROOT / module).read_text())))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return frozenset(
        read
        | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    )
