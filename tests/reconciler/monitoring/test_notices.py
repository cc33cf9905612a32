"""Notices: at most one message a turn, nothing twice within the quiet period, nothing over that is merely unknown."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ci.cli.exits import WrongUse
from ci.reports.notifications import Notifier, Recipients, read_recipients, send
from reconciler.ledger.reading.event_log import LogEvent
from reconciler.monitoring.health import HealthStatus
from reconciler.monitoring.notices import MOST_LINES, Circle, Message, compose

NOW = datetime(2019, 2, 7, 12, tzinfo=UTC)
ALL = Circle("production", None, timedelta(hours=12))
STALLED = HealthStatus("proc7", "Stalled", "kekcc does not answer (3 times in a row)")
PROGRESSING = HealthStatus("proc7", "Progressing", "7 jobs under way")


def told(conditions=(), events=(), memory=None, now=NOW, circle=ALL, judged=("proc7", "proc8"), trouble=()):
    return compose(circle, events, conditions, judged, trouble, memory or {}, now)


def test_what_is_as_it_should_be_is_told_to_nobody():
    assert told([PROGRESSING]) == (None, {})


def test_a_condition_is_told_once_then_after_the_quiet_period_then_when_it_is_over():
    message, memory = told([STALLED])
    assert message == Message("production", "b2prod: proc7", f"proc7 Stalled: {STALLED.reason}")
    for hours in (1, 5, 11):
        quiet, memory = told([STALLED], memory=memory, now=NOW + timedelta(hours=hours))
        assert quiet is None
    again, memory = told([STALLED], memory=memory, now=NOW + timedelta(hours=12))
    assert again.body == f"proc7 Stalled, still: {STALLED.reason}"
    over, memory = told([], memory=memory, now=NOW + timedelta(hours=13))
    assert over.body == f"proc7 Stalled is over: {STALLED.reason}"
    assert memory == {}


def test_other_words_for_the_same_condition_are_not_told_again():
    _, memory = told([STALLED])
    other = HealthStatus("proc7", "Stalled", "kekcc does not answer (4 times in a row)")
    message, memory = told([other], memory=memory)
    assert message is None
    assert memory["proc7 Stalled"]["text"] == other.reason


def test_what_was_not_judged_is_not_over():
    _, memory = told([STALLED])
    message, kept = told([], memory=memory, judged=(), trouble=["this turn did nothing: no ledger"])
    assert message.body == "reconciler Degraded: this turn did nothing: no ledger"
    assert kept["proc7 Stalled"] == memory["proc7 Stalled"]


def test_a_thousand_conditions_are_one_message_with_an_end():
    many = [HealthStatus(f"c{n}", "Degraded", "in quarantine: 1 unit") for n in range(1000)]
    message, memory = told(many, judged=[one.campaign for one in many])
    assert len(message.body.splitlines()) == MOST_LINES + 1
    assert "960 more" in message.body
    assert len(memory) == 1000


def test_reasons_of_one_condition_are_one_line():
    two = [HealthStatus("proc7", "Blocked", "paused"), HealthStatus("proc7", "Blocked", "max_restate is 0")]
    assert told(two)[0].body == "proc7 Blocked: paused; max_restate is 0"


def test_a_circle_hears_of_its_campaigns_and_of_the_reconciler_alone():
    circle = Circle("eight", frozenset({"proc8"}), timedelta(0))
    breaker = LogEvent(
        1, "", "pause.begun", {"scope": "campaign:proc7", "kind": "breaker", "reason": "5 alike"}
    )
    assert told([STALLED], [breaker], circle=circle) == (None, {})
    mine = HealthStatus("proc8", "Degraded", "in quarantine: 2 units")
    message, _ = told([STALLED, mine], [breaker], circle=circle, trouble=["no ledger"])
    assert message.body.splitlines() == [
        "proc8 Degraded: in quarantine: 2 units",
        "reconciler Degraded: no ledger",
    ]


def test_breakers_and_decisions_are_told_when_they_happen():
    events = [
        LogEvent(1, "", "pause.begun", {"scope": "campaign:proc7", "kind": "breaker", "reason": "5 alike"}),
        LogEvent(2, "", "pause.begun", {"scope": "all", "kind": "operator", "reason": "lunch"}),
        LogEvent(
            3, "", "decision.taken", {"who": "s@h", "verb": "retry", "what": "proc7/reco", "reason": "mended"}
        ),
        LogEvent(4, "", "attempt.failed", {"campaign": "proc7"}),
    ]
    assert told(events=events)[0].body.splitlines() == [
        "proc7 was paused (breaker): 5 alike",
        "proc7: s@h decided retry for proc7/reco: mended",
    ]


# -- who is told


def write(tmp_path, text, mode=0o600):
    file = tmp_path / "notify.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_recipients_are_read(tmp_path):
    text = '[circles.production]\nurls = ["json://h"]\ncampaigns = ["proc7"]\nquiet_hours = 2\n'
    (one,) = read_recipients(write(tmp_path, text), tmp_path / "checkout")
    assert one == Recipients(Circle("production", frozenset({"proc7"}), timedelta(hours=2)), ("json://h",))
    assert "json://h" not in repr(one), "addresses hold passwords"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ('[circles.a]\nurls = ["json://h"]\n', 0o640, "can be read by others"),
        ("[circles", 0o600, "is not TOML"),
        ("", 0o600, "has no circles"),
        ("[circles.a]\nurls = []\n", 0o600, "needs urls"),
        ('[circles.a]\nurls = ["json://h"]\nurl = "x"\n', 0o600, "has other keys"),
        ('[circles.a]\nurls = ["json://h"]\nquiet_hours = -1\n', 0o600, "number of hours"),
        ('[circles.a]\nurls = ["json://h"]\ncampaigns = "proc7"\n', 0o600, "list of names"),
    ],
)
def test_a_file_that_will_not_do_says_why(tmp_path, text, mode, said):
    with pytest.raises(WrongUse, match=said):
        read_recipients(write(tmp_path, text, mode), tmp_path / "checkout")


def test_addresses_in_the_checkout_are_refused(tmp_path):
    with pytest.raises(WrongUse, match="addresses are secrets"):
        read_recipients(write(tmp_path, '[circles.a]\nurls = ["json://h"]\n'), tmp_path)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's own import
def test_a_message_arrives_as_it_was_written(receiver):
    address = f"json://127.0.0.1:{receiver.server_port}/"
    assert send([address], Message("a", "b2prod: proc7", "proc7 Stalled: why"))
    (got,) = receiver.got
    assert (got["title"], got["message"]) == ("b2prod: proc7", "proc7 Stalled: why")
    receiver.status = 500
    assert not send([address], Message("a", "b2prod: proc7", "again"))
    assert not send(["nonsense"], Message("a", "b2prod: proc7", "again"))


def test_what_did_not_arrive_is_told_in_the_next_turn_and_a_restart_repeats_nothing(tmp_path):
    sent, works = [], [False]

    def deliver(urls, message):
        if works[0]:
            sent.append(message.body)
        return works[0]

    recipients = [Recipients(ALL, ("json://h",))]
    breaker = LogEvent(
        1, "", "pause.begun", {"scope": "campaign:proc7", "kind": "breaker", "reason": "5 alike"}
    )
    notifier = Notifier(recipients, tmp_path / "notices.json", deliver)
    assert notifier.tell([breaker], [STALLED], ["proc7"], [], NOW) == ["production"]
    works[0] = True
    assert notifier.tell([], [STALLED], ["proc7"], [], NOW) == []
    assert sent == [f"proc7 Stalled: {STALLED.reason}\nproc7 was paused (breaker): 5 alike"]
    another = Notifier(recipients, tmp_path / "notices.json", deliver)
    another.tell([], [STALLED], ["proc7"], [], NOW)
    assert len(sent) == 1
