"""Where fields of files are used: a module for each, which is held to read it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PLACES = """
campaign kind reconciler/differences.py
campaign supersedes[] ci/review.py
campaign reuse reconciler/gathering.py
campaign compare_with ci/review.py
campaign restate.reason ci/review_text.py
campaign restate.limit schemas/campaign.py
campaign runs[] reconciler/runs/selection.py
campaign runs[].from reconciler/runs/selection.py:first
campaign release renderer/applications/basf2.py
campaign global_tags[].name reconciler/conditions/following.py
campaign global_tags[].mode reconciler/restating.py
campaign global_tags[].on_change reconciler/conditions/following.py
campaign global_tags[].role schemas/campaign.py
campaign site reconciler/ordering.py
campaign layout reconciler/ordering.py
campaign steps.*.title reconciler/differences.py
campaign steps.*.application renderer/jobs.py
campaign steps.*.template renderer/applications/basf2.py
campaign steps.*.input renderer/units.py
campaign steps.*.input.skim schemas/variant.py
campaign steps.*.input.skims[] schemas/step.py
campaign steps.*.outputs[] renderer/fingerprint.py
campaign steps.*.skims[] renderer/fingerprint.py
campaign steps.*.script renderer/applications/script.py
campaign steps.*.arguments[] renderer/applications/script.py
campaign steps.*.keep[] renderer/applications/uproot.py
campaign steps.*.parameters renderer/applications/uproot.py:parameters
campaign steps.*.overrides[] renderer/applications/basf2.py
campaign steps.*.overrides[].reason reconciler/deviations.py
campaign steps.*.overrides[].ticket reconciler/deviations.py
campaign steps.*.testing_payloads[] reconciler/deviations.py
campaign steps.*.testing_payloads[].name renderer/applications/basf2.py
campaign steps.*.additional_branches[] reconciler/deviations.py
campaign steps.*.scan schemas/deviation.py
campaign steps.*.scan.*.values schemas/variant.py:points
campaign steps.*.expected renderer/requests.py
campaign steps.*.split renderer/jobs.py
campaign canary.runs reconciler/brakes.py
campaign canary.then reconciler/brakes.py:hold
campaign limits.max_units reconciler/planning.py
campaign limits.max_restate reconciler/planning.py
campaign limits.max_in_flight reconciler/brakes.py
campaign limits.max_attempts reconciler/endings.py
site title schemas/site.py:
site engine reconciler/fleet.py
site storage reconciler/ordering.py
site testing_payloads renderer/applications/basf2.py
site payloads renderer/applications/basf2.py
site runs_per_request renderer/requests.py
site hs06 reconciler/grid_orders.py
site slots reconciler/capacity.py
site queue reconciler/engines/slurm.py
site queues reconciler/preconditions.py
site queues.*.cpu_minutes schemas/site.py:
site queues.*.memory schemas/rules/queues.py
site batch reconciler/engines/slurm.py
site catalogue reconciler/cataloguing/rucio.py
site catalogue.kind reconciler/cataloguing/registering.py
site catalogue.auth reconciler/cataloguing/registering.py
site diracx reconciler/engines/diracx.py
site diracx.user reconciler/dialects/credentials.py
site diracx.token reconciler/dialects/credentials.py
site diracx.key reconciler/dialects/credentials.py
site diracx.job_type reconciler/dialects/diracx_jobs.py
site gb2 reconciler/engines/gb2.py
site gb2.resource_tag renderer/requests.py
site gb2.by_run renderer/requests.py
site contact reconciler/preconditions.py
site credential_minutes reconciler/preconditions.py
site keep_failed_days reconciler/fleet.py
site min_free reconciler/preconditions.py
site visibility reconciler/fleet.py
site brakes.percent reconciler/alarms.py
site brakes.at_least reconciler/alarms.py
site windows[] reconciler/preconditions.py
site windows[].from reconciler/preconditions.py:begin
site windows[].to reconciler/preconditions.py:end
site windows[].utc_offset reconciler/preconditions.py:offset
site prestage reconciler/staging.py
site inputs.verify renderer/jobs.py
site environment[] renderer/jobs.py
site scripts[] ci/approvals/dossier.py
site launchers renderer/applications/basf2.py:launchers
layouts layouts.*.historic renderer/grid_input.py
layouts layouts.*.folder schemas/layout.py
releases releases.*.commit reconciler/pinning.py
skims skims.*.cut renderer/skim_task.py
skims skims.*.line schemas/skims.py
skims skims.*.decision schemas/skims.py
skims skims.*.registry renderer/requests.py
skims skims.*.combines[] schemas/skims.py
roles version ci/approvals/root.py
roles expires ci/approvals/verdict.py
roles repository ci/approvals/verdict.py
roles environment ci/approvals/verdict.py
roles mode ci/approvals/dossier.py
roles branch ci/approvals/dossier.py
roles validity_days ci/approvals/verdict.py
roles touch ci/approvals/verdict.py
roles administrators ci/approvals/root.py
roles administrators.people[] ci/approvals/gate.py
roles roles ci/approvals/verdict.py
roles roles.*.people[] schemas/roles.py
roles requires schemas/roles.py
roles requires.exemptions[].nobody schemas/roles.py:roles
roles requires.exemptions[].reason ci/approvals/root_text.py
roles delegations[] schemas/roles.py
roles delegations[].for schemas/roles.py:principal
roles delegations[].from schemas/roles.py:first
roles delegations[].until schemas/roles.py:last
roles delegations[].reason ci/approvals/root_text.py
retirement datasets[] ci/approvals/decision.py
retirement reason ci/approvals/decision.py
retirement successor ci/approvals/decision.py
retirement quarantine_days ci/approvals/decision.py
lock campaign ci/approvals/dossier.py
lock generation ci/approvals/dossier.py
lock runs[] reconciler/runs/selection.py
lock selection reconciler/resolving.py
lock open_runs reconciler/runs/selection.py:open_runs
lock release schemas/rules/references.py
lock commit reconciler/ordering.py
lock global_tags ci/approvals/decision.py
lock global_tags[].role schemas/rules/references.py
lock scripts.* ci/approvals/decision.py:scripts
lock steps schemas/rules/references.py
lock testing_payloads schemas/rules/references.py
lock templates ci/risks.py
lock skims schemas/rules/references.py
lock scopes ci/approvals/dossier.py:scopes
lock site ci/approvals/dossier.py
lock site.layout schemas/rules/references.py
lock site.historic schemas/rules/references.py
statement _type schemas/statement.py:
statement predicateType schemas/statement.py:
statement subject ci/approvals/verdict.py:subject
statement subject[].digest ci/approvals/verdict.py:digest
statement predicate ci/approvals/verdict.py
statement predicate.policy_digest ci/approvals/verdict.py:policy
statement predicate.plan_digest ci/approvals/verdict.py:plan
statement predicate.limits ci/approvals/verdict.py:ceilings
statement predicate.comment schemas/statement.py
statement predicate.of ci/approvals/withdrawal.py
snapshot name reconciler/conditions/following.py
snapshot state reconciler/conditions/metadata_file.py
snapshot digest reconciler/conditions/following.py
snapshot id reconciler/conditions/metadata_file.py
snapshot retrieved reconciler/conditions/following.py
snapshot iovs[] reconciler/conditions/metadata_file.py
snapshot iovs[].line schemas/local_database.py
allowed_signers principal schemas/policy.py:items
allowed_signers key ci/approvals/verdict.py
allowed_signers after ci/approvals/verdict.py
allowed_signers before ci/approvals/verdict.py
revoked_keys key ci/approvals/verdict.py:revoked
"""
"""Kind, field or the beginning of one, and the module that uses it; behind a colon the name that it has there."""


def find_place(kind: str, path: str) -> tuple[str, str] | None:
    """The module that uses a field, and the name that the field has there; None: the table has none."""
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
    """The attributes that a module reads, and the texts in it."""
    nodes = list(ast.walk(ast.parse((ROOT / module).read_text())))
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return frozenset(
        read
        | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    )
