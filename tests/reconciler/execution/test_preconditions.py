"""What must hold before a batch is submitted, as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.execution.sites.preconditions import Circumstances, Volume, check_batch, find_need, is_open
from schemas.json_schema.validation import load_schema, validate
from schemas.policy.site import BatchSettings, Queue, Site, Window, read_site
from schemas.yaml.document import read_yaml

NOW = datetime(2019, 2, 7, 12, 0, tzinfo=UTC)  # a Thursday
HOUR = timedelta(hours=1)


def site(**values):
    return Site("kekcc", "lsf", "data", **values)


def say(described, **values):
    return [str(one) for one in check_batch(described, Circumstances(NOW, **values))]


def test_nothing_is_in_the_way_where_nothing_is_asked_for():
    assert say(site(), lifetime=None) == []


def test_a_credential_that_ends_before_the_batch_holds_it_back_and_tells_whom_and_how():
    described = site(
        batch=BatchSettings(minutes=600),
        contact="prod@example.org",
    )
    assert find_need(described) == 11 * HOUR
    assert say(described, lifetime=12 * HOUR) == []
    (said,) = say(described, lifetime=10 * HOUR, renewal="say `gb2_proxy_init`")
    assert said == (
        "the credential ends at 2019-02-07 22:00 UTC, and a batch needs it for 11:00:00;"
        " prod@example.org: say `gb2_proxy_init`"
    )
    assert say(described, lifetime=timedelta(0))[0].startswith("the credential has run out; prod@example.org")


def test_what_cannot_be_told_holds_it_back_too():
    (said,) = say(site(), trouble="the service does not answer", renewal="say `dirac login`")
    assert said == (
        "how long the credential is good cannot be told: the service does not answer; say `dirac login`"
    )


def test_how_long_a_credential_is_needed():
    queue = {"l": Queue(minutes=120), "s": Queue()}
    assert find_need(site(queue="l", queues=queue)) == 3 * HOUR
    assert find_need(site(queue="l", queues=queue, batch=BatchSettings(minutes=60))) == 2 * HOUR
    assert find_need(site(queue="s", queues=queue)) == 12 * HOUR
    assert find_need(site(queue="l", queues=queue, credential_minutes=30)) == HOUR / 2


def test_space_is_asked_for_where_outputs_and_attempts_go():
    full = Volume("/group", 499 * 10**9)
    assert say(site(min_free=500), storage=full) == [
        "less than 500 GB are free at /group; retire what is obsolete, or ask for more space"
    ]
    assert say(site(min_free=499), storage=full) == []
    assert "0.1 GB are free at /home" in say(site(), state=Volume("/home", 10**7))[0]
    assert "cannot be told" in say(site(), storage=Volume("/nowhere", None))[0]


def test_a_full_queue_is_waited_for():
    described = site(queue="l", queues={"l": Queue(slots=100)})
    assert say(described, in_flight=99) == []
    assert "100 jobs of ours are in the queue l" in say(described, in_flight=100)[0]


def window(begin, end, days=range(7), offset=0):
    return Window(begin, end, frozenset(days), offset, "")


@pytest.mark.parametrize(
    ("one", "moment", "is_in"),
    [
        (window(600, 720), (7, 9, 59), False),
        (window(600, 720), (7, 10, 0), True),
        (window(600, 720), (7, 11, 59), True),
        (window(600, 720), (7, 12, 0), False),
        (window(1200, 480), (7, 23, 0), True),
        (window(1200, 480), (8, 7, 59), True),
        (window(1200, 480), (8, 8, 0), False),
        (window(1200, 480, [3]), (8, 3, 0), True),  # begun on Thursday
        (window(1200, 480, [3]), (7, 3, 0), False),
        (window(0, 1440, [4]), (7, 23, 59), False),
        (window(1200, 480, range(7), 540), (7, 11, 0), True),  # 20:00 in Japan
        (window(1200, 480, range(7), 540), (7, 23, 0), False),
        (window(1200, 480, [3], 540), (7, 22, 0), True),  # Friday 07:00 in Japan
    ],
)
def test_windows(one, moment, is_in):
    day, hour, minute = moment
    assert is_open(one, datetime(2019, 2, day, hour, minute, tzinfo=UTC)) is is_in


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 10**6))
def test_a_window_and_its_opposite_divide_the_day(begin, end, minutes):
    now = NOW + timedelta(minutes=minutes)
    if begin != end:
        assert is_open(window(begin, end), now) is not is_open(window(end, begin), now)


def test_a_sites_file_is_read_as_it_is_meant():
    text = """\
schema: site/1
title: A site
engine: lsf
storage: /data
contact: site-engineer@example.org
credential_minutes: 90
min_free: 500
windows: [{from: "20:00", to: "08:00", utc_offset: "-03:30", days: [Sat, Sun]}, {from: "00:00", to: "24:00"}]
prestage: {command: [/bin/stage, --now], in_flight: 7}
"""
    document, findings = read_yaml("productions/sites/a.yaml", text.encode())
    assert not findings
    assert not validate(document, load_schema("site"))
    found = read_site("a", document)
    night, always = found.windows
    assert (night.begin, night.end, night.days, night.offset) == (1200, 480, {5, 6}, -210)
    assert night.text == "20:00-08:00 -03:30 (Sat, Sun)"
    assert is_open(always, NOW)
    assert (found.prestage.command, found.prestage.batch, found.prestage.in_flight) == (
        ("/bin/stage", "--now"),
        500,
        7,
    )
    assert (found.contact, found.credential_minutes, found.min_free) == ("site-engineer@example.org", 90, 500)
