"""The preconditions for submitting a batch to a site: credential, free space, queue, hours of the day.

A hindrance says what is wrong, and who can solve it and how. The batch waits until then; this is not a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.policy.site import Site, Window

UNKNOWN_RUN_TIME = timedelta(hours=12)
"""How long a credential must be valid if the site does not limit the time of a job."""

LEAST_SPACE = 100 * 10**6
"""Bytes that must be free wherever something is written. KEK refuses submissions if the home folder has less."""


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why nothing is submitted now, and what to do about it. Texts are compared, so they never say how long it lasts."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A folder that is written to, and its free bytes; None if that is not known."""

    folder: str
    free: int | None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The state of a site at one moment (UTC). `lifetime` is that of the credential, None if no credential is needed.

    `trouble` says why the lifetime is not known, `renewal` how a person renews the credential. `in_flight` counts attempts.
    """

    now: datetime
    lifetime: timedelta | None = None
    trouble: str | None = None
    storage: Volume | None = None
    state: Volume | None = None
    in_flight: int = 0
    renewal: str = "renew the credential"


def check_batch(site: Site, found: Circumstances) -> tuple[Hindrance, ...]:
    """The hindrances to submitting a batch; empty if it may be submitted."""
    checks = (_check_credential, _check_windows, _check_space, _check_queue)
    return tuple(hindrance for check in checks for hindrance in check(site, found))


def find_need(site: Site) -> timedelta:
    """How long the credential must be valid: what the site says, or one hour more than a job may run."""
    if site.credential_minutes is not None:
        return timedelta(minutes=site.credential_minutes)
    queue = site.queues.get(site.queue or "")
    minutes = site.batch.minutes or (queue.minutes if queue else None)
    return UNKNOWN_RUN_TIME if minutes is None else timedelta(minutes=minutes, hours=1)


def is_open(window: Window, now: datetime) -> bool:
    """Whether a moment is inside a window, also over midnight. The window includes its begin, and not its end."""
    here = now + timedelta(minutes=window.offset)
    minute = 60 * here.hour + here.minute
    if window.begin < window.end:
        return window.begin <= minute < window.end and here.weekday() in window.days
    if minute >= window.begin:
        return here.weekday() in window.days
    # after midnight: the day on which the window began counts
    return minute < window.end and (here.weekday() - 1) % 7 in window.days


def _check_credential(site: Site, found: Circumstances) -> Iterator[Hindrance]:
    how = f"{site.contact}: {found.renewal}" if site.contact else found.renewal
    need = find_need(site)
    if found.trouble is not None:
        yield Hindrance(f"how long the credential is good cannot be told: {found.trouble}", how)
    elif found.lifetime is None or found.lifetime >= need:
        return
    elif found.lifetime <= timedelta(0):
        yield Hindrance("the credential has run out", how)
    else:
        ends = (found.now + found.lifetime).strftime("%Y-%m-%d %H:%M UTC")
        yield Hindrance(f"the credential ends at {ends}, and a batch needs it for {need}", how)


def _check_windows(site: Site, found: Circumstances) -> Iterator[Hindrance]:
    if site.windows and not any(is_open(window, found.now) for window in site.windows):
        hours = ", ".join(window.text for window in site.windows)
        yield Hindrance(f"{site.name} takes jobs at {hours} only", "it goes on by itself then")


def _check_space(site: Site, found: Circumstances) -> Iterator[Hindrance]:
    in_storage = max(LEAST_SPACE, site.min_free * 10**9)
    for volume, least in ((found.storage, in_storage), (found.state, LEAST_SPACE)):
        if volume is None:
            continue
        if volume.free is None:
            what = f"how much is free at {volume.folder} cannot be told"
            yield Hindrance(what, "mount it, or correct the path")
        elif volume.free < least:
            what = f"less than {least / 10**9:g} GB are free at {volume.folder}"
            yield Hindrance(what, "retire what is obsolete, or ask for more space")


def _check_queue(site: Site, found: Circumstances) -> Iterator[Hindrance]:
    queue = site.queues.get(site.queue or "")
    if queue is not None and queue.slots is not None and found.in_flight >= queue.slots:
        what = f"{queue.slots} jobs of ours are in the queue {site.queue}, and more are not allowed"
        yield Hindrance(what, "it goes on by itself as jobs end")
