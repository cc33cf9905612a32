"""Rules on retention: nothing leaves the disk that is nowhere else, and each rule can be kept at its site."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.policy.retention import NONE, RetentionPolicy, RetentionRule
from schemas.policy.site import Site
from schemas.repository import SITES, Repository
from schemas.yaml.scalars import show
from schemas.yaml.wording import suggest


def check_retention(repository: Repository) -> Iterator[Finding]:
    """Ensure that the rules of the retention can be kept, and that each of them decides something."""
    retention = repository.retention
    if retention is None:
        return
    for index, rule in enumerate(retention.rules):
        site = repository.sites.get(rule.site)
        if site is not None:
            yield from _check_rule(retention, index, rule, site)
        elif f"{SITES}/{rule.site}.yaml" not in repository.broken:
            hint = suggest(rule.site, repository.sites, f"add {SITES}/NAME.yaml")
            message = f"there is no site {show(rule.site)}"
            yield retention.document.report(("rules", index, "site"), "BP712", message, hint)
        yield from _check_order(retention, index, rule)


def _check_rule(retention: RetentionPolicy, index: int, rule: RetentionRule, site: Site) -> Iterator[Finding]:
    report = retention.document.report
    if rule.disk is not None and rule.tape == NONE:
        message = f"only {rule.disk} of a chain stay on disk, and nothing of the others is on tape"
        yield report(("rules", index, "disk"), "BP711", message, "add `tape: rest`, or leave out `disk`")
    if rule.tape == NONE:
        return
    place = ("rules", index, "tape")
    needed = {"archive": site.archive, "recall": site.recall if rule.disk is not None else site.archive}
    if lacking := [key for key, command in needed.items() if command is None]:
        message = f"the site {site.name} has no `{lacking[0]}` command"
        yield report(place, "BP712", message, f"add `{lacking[0]}` to {SITES}/{site.name}.yaml")
    if site.checksum is None and rule.sample is None:
        message = f"nothing tells how copies on tape of {site.name} are read back"
        yield report(place, "BP712", message, f"add `checksum` to {SITES}/{site.name}.yaml, or `sample` here")
    elif site.checksum is None and site.recall is None:
        message = f"a sample cannot be brought from tape: the site {site.name} has no `recall` command"
        yield report(
            ("rules", index, "sample"), "BP712", message, f"add `recall` to {SITES}/{site.name}.yaml"
        )


def _check_order(retention: RetentionPolicy, index: int, rule: RetentionRule) -> Iterator[Finding]:
    for earlier, other in enumerate(retention.rules[:index]):
        kinds = not other.kinds or (rule.kinds and rule.kinds <= other.kinds)
        levels = not other.levels or (rule.levels and rule.levels <= other.levels)
        if rule.site == other.site and kinds and levels:
            message = (
                f"rule {index + 1} never counts: all that it fits is decided by rule {earlier + 1} before it"
            )
            hint = "move it before that one, or remove it"
            yield retention.document.report(("rules", index), "BP713", message, hint)
            return
