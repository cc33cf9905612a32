"""The REST source against a server on this machine that answers as the conditions database does, and as it should not."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from contextlib import closing
from urllib.parse import unquote

import pytest

from reconciler.conditions.rest import RestSource
from reconciler.conditions.source import UnknownTag
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.json_reader import JsonReader
from schemas.manifest.runs import run_key
from tests.support.inputs.real_tags import IDS, NAMES, read_canned, read_listed
from tests.support.services.loopback import serve

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SECOND = NAMES[1]
SECRET = "eyJ0eXAi.very.secret"


class Service:
    """Answers of the service: `answers` maps a path to what replaces its normal answer, `seen` are the requests."""

    def __init__(self, folder):
        self.canned = {name: read_canned(folder, name) for name in NAMES}
        self.tags = read_listed(folder)
        self.answers = {}
        self.seen = []
        self.release = threading.Event()

    def about(self, name):
        return {
            "globalTagId": IDS[name],
            "name": name,
            "description": "Globaltag used during the framework test",
            "globalTagType": {"name": "DEV"},
            "globalTagStatus": {"name": "VALIDATED"},
            "payloadCount": len(self.canned[name]),
            "dtmMod": "2020-10-14T13:31:07Z",
        }

    def payloads_of(self, name, experiment, run):
        """What is valid for a run, in the other shape of items."""
        key = run_key(experiment, run)
        valid = {(iov.revision, iov.first) for iov in self.tags[name].iovs if iov.first <= key < iov.end}
        return [
            {"payload": item["payloadId"], "payloadIov": iov}
            for item in self.canned[name]
            for iov in item["payloadIovs"]
            if (str(item["payloadId"]["revision"]), run_key(iov["expStart"], iov["runStart"])) in valid
        ]

    def find(self, path, query):
        """The normal answer: status and JSON."""
        parts = [unquote(part) for part in path.removeprefix("/rest/v2/").split("/")]
        if parts == ["globalTagStatus"]:
            return 200, [{"name": "OPEN"}, {"name": "VALIDATED"}]
        if parts[0] == "iovPayloads":
            return 200, self.payloads_of(
                query["gtName"][0], int(query["expNumber"][0]), int(query["runNumber"][0])
            )
        if parts[0] != "globalTag" or parts[1] not in self.canned:
            return 404, {"code": 404, "reason": "Not Found", "message": "no such global tag"}
        return (200, self.about(parts[1])) if len(parts) == 2 else (200, self.canned[parts[1]])


@pytest.fixture
def service(shared_data):
    service = Service(shared_data / "belle2" / "conditions")
    server = serve(service)
    service.address = f"http://127.0.0.1:{server.server_port}/rest"
    yield service
    service.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def source(service, waits):
    return RestSource(service.address, timeout=5, attempts=3, backoff=1, pause=waits.append)


# The same contract as the file sources (test_conditions_files)


def test_the_service_gives_the_whole_tag(source, service):
    for name in NAMES:
        tag = source.fetch(name)
        assert tag.digest == service.tags[name].digest
        assert (tag.id, tag.state) == (IDS[name], "VALIDATED")
        assert tag.source == f"{service.address}/v2/"


def test_a_tag_that_the_service_does_not_have_is_unknown_and_not_a_failure(source):
    with pytest.raises(UnknownTag, match="other"):
        source.fetch("other/../x?y")


def test_both_shapes_of_items_are_read(source, service):
    items = [
        {"payload": i["payloadId"], "payloadIov": iov}
        for i in read_items(service)
        for iov in i["payloadIovs"]
    ]
    service.answers["/globalTagPayloads"] = lambda to: to.reply(200, json.dumps(items).encode())
    assert source.fetch(SECOND).digest == service.tags[SECOND].digest


def read_items(service):
    return json.loads(json.dumps(service.canned[SECOND]))


def test_requests_are_as_the_service_wants_them(source, service):
    source.fetch(SECOND)
    for path, headers in service.seen:
        assert path.startswith("/rest/v2/")
        assert (headers["Accept"], headers["Cache-Control"]) == ("application/json", "no-cache")
        assert "X-Authorization" not in headers
    assert RestSource(f"{service.address}/v2/").fetch(SECOND).id == 2464


def test_an_empty_tag_that_says_so_is_an_empty_tag(source, service):
    service.canned[SECOND] = []
    assert source.fetch(SECOND).iovs == ()


# What the service does wrong

CONTENT = {
    "empty list": (lambda items: [], "lists 0 payloads"),
    "a payload short": (lambda items: items[1:], "lists 4 payloads"),
    "a payload twice counts once": (lambda items: [*items[1:], items[1]], "lists 4 payloads"),
    "an object": (lambda items: {"payloads": items}, "not with a JSON list"),
    "null": (lambda items: None, "not with a JSON list"),
    "wrong child": (lambda items: [{"payloadID": 1}, *items[1:]], "an item is not"),
    "no IoVs": (lambda items: [{"payloadId": items[0]["payloadId"]}, *items[1:]], "an item is not"),
    "text for an item": (lambda items: ["x", *items[1:]], "an item is not"),
    "revision as text": (lambda items: edit(items, "revision", "2670"), "'revision'"),
    "revision true": (lambda items: edit(items, "revision", True), "'revision'"),
    "negative revision": (lambda items: edit(items, "revision", -1), "revision"),
    "no checksum": (lambda items: edit(items, "checksum", None), "'checksum'"),
    "wrong checksum": (lambda items: edit(items, "checksum", "abc"), "md5"),
    "no module": (lambda items: edit(items, "basf2Module", {}), "'name'"),
    "strange name": (lambda items: edit(items, "basf2Module", {"name": "a\nb"}), "payload name"),
    "IoV reversed": (lambda items: edit_iov(items, "expEnd", 1), "before it begins"),
    "IoV half": (lambda items: edit_iov(items, "runEnd", None), "'runEnd'"),
    "IoV fraction": (lambda items: edit_iov(items, "runEnd", 1.5), "'runEnd'"),
    "IoV no object": (lambda items: [{**items[0], "payloadIovs": [7]}, *items[1:]], "not a JSON object"),
    "two checksums": (
        lambda items: [
            *edit(items, "payloadId", 7, checksum="f" * 32, revision=items[1]["payloadId"]["revision"])
        ],
        "two checksums",
    ),
}


def edit(items, key, value, **others):
    items[0]["payloadId"].update({key: value, **others})
    return items


def edit_iov(items, key, value):
    items[0]["payloadIovs"][0][key] = value
    return items


@pytest.mark.parametrize("wrong", CONTENT)
def test_wrong_content_is_unavailable_and_never_a_smaller_tag(source, service, waits, wrong):
    change, says = CONTENT[wrong]
    body = json.dumps(change(read_items(service))).encode()
    service.answers["/globalTagPayloads"] = lambda to: to.reply(200, body)
    with pytest.raises(SourceUnavailable, match=says):
        source.fetch(SECOND)
    assert waits == []


@pytest.mark.parametrize(
    "change",
    [
        {"payloadCount": "5"},
        {"payloadCount": None},
        {"globalTagId": True},
        {"globalTagStatus": None},
        {"globalTagStatus": {"name": "x\ny"}},
        {"name": "another"},
        {"payloadCount": 6},
    ],
    ids=str,
)
def test_wrong_facts_about_the_tag_are_unavailable(source, service, change):
    body = json.dumps(service.about(SECOND) | change).encode()
    service.answers[f"/globalTag/{SECOND}"] = lambda to: to.reply(200, body)
    with pytest.raises(SourceUnavailable):
        source.fetch(SECOND)


BODIES = {
    "broken JSON": (b'[{"payloadId": ', "something else"),
    "nothing": (b"", "something else"),
    "HTML": (b"<html><body>Log in first</body></html>", "HTML"),
    "not UTF-8": (b'["\xff"]', "something else"),
    "NaN": (b"[NaN]", "something else"),
    "too deep": (b"[" * 200_000, "something else"),
}


@pytest.mark.parametrize("body", BODIES)
def test_what_is_not_json_is_unavailable(source, service, body):
    content, says = BODIES[body]
    for path in ("/globalTagPayloads", f"/globalTag/{SECOND}"):
        service.answers = {path: lambda to: to.reply(200, content, "text/html")}
        with pytest.raises(SourceUnavailable, match=says):
            source.fetch(SECOND)


@pytest.mark.parametrize("status", [400, 401, 403, 410, 501])
def test_an_error_is_told_with_the_service_s_own_message(source, service, waits, status):
    body = json.dumps({"code": status, "reason": "r", "message": "token expired"}).encode()
    service.answers["/globalTagPayloads"] = lambda to: to.reply(status, body)
    with pytest.raises(SourceUnavailable, match=f"{status}: token expired"):
        source.fetch(SECOND)
    assert waits == []


def test_payloads_that_are_not_found_of_a_tag_that_is_are_unavailable(source, service):
    service.answers["/globalTagPayloads"] = lambda to: to.reply(404, b"{}")
    with pytest.raises(SourceUnavailable, match="404"):
        source.fetch(SECOND)


def test_a_wrong_address_is_unavailable_and_says_nothing_about_the_tag(service):
    wrong = RestSource(service.address.replace("/rest", "/elsewhere"), attempts=1)
    with pytest.raises(SourceUnavailable, match="globalTagStatus answers 404"):
        wrong.fetch(SECOND)


def test_a_service_that_comes_back_is_read(source, service, waits):
    left = [503, 503]
    service.answers["/globalTagPayloads"] = lambda to: bool(left) and to.reply(left.pop(), b"busy")
    assert len(source.fetch(SECOND).iovs) == 6
    assert len(waits) == 2
    assert 1 <= waits[0] <= 2 <= waits[1] <= 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_service_that_stays_away_is_unavailable(source, service, waits, status):
    service.answers[""] = lambda to: to.reply(status, b'{"message": "maintenance"}', Retry_After="86400")
    with pytest.raises(SourceUnavailable, match=rf"3 attempts.*{status}: maintenance"):
        source.fetch(SECOND)
    assert (len(waits), len(service.seen)) == (2, 3)


def test_a_body_cut_short_is_asked_for_again(source, service, waits):
    body = json.dumps(read_items(service)).encode()
    left = [True]
    service.answers["/globalTagPayloads"] = lambda to: (
        bool(left) and left.pop() and to.reply(200, body[:300], length=len(body))
    )
    assert len(source.fetch(SECOND).iovs) == 6
    service.answers["/globalTagPayloads"] = lambda to: to.reply(200, body[:300], length=len(body))
    with pytest.raises(SourceUnavailable, match="does not answer"):
        source.fetch(SECOND)
    assert len(waits) == 1 + 2


def test_a_compressed_body_is_read_and_a_broken_one_is_not(source, service):
    body = gzip.compress(json.dumps(read_items(service)).encode())
    service.answers["/globalTagPayloads"] = lambda to: to.reply(200, body, Content_Encoding="gzip")
    assert len(source.fetch(SECOND).iovs) == 6
    service.answers["/globalTagPayloads"] = lambda to: to.reply(200, b"x" + body, Content_Encoding="gzip")
    with pytest.raises(SourceUnavailable):
        source.fetch(SECOND)


def test_a_tag_that_changes_while_it_is_read_is_unavailable(source, service):
    answers = iter(("2020-10-14", "2020-10-15"))
    service.answers[f"/globalTag/{SECOND}"] = lambda to: to.reply(
        200, json.dumps(service.about(SECOND) | {"dtmMod": next(answers)}).encode()
    )
    with pytest.raises(SourceUnavailable, match="changed while"):
        source.fetch(SECOND)


# Time


def test_silence_ends(service, waits):
    service.answers["/globalTagPayloads"] = lambda to: service.release.wait(20)
    source = RestSource(service.address, timeout=0.2, attempts=2, pause=waits.append)
    begin = time.monotonic()
    with pytest.raises(SourceUnavailable, match="2 attempts"):
        source.fetch(SECOND)
    assert time.monotonic() - begin < 5


def test_an_answer_that_comes_in_drops_ends(service, waits):
    """Each drop comes in time; together they would take a minute."""

    def drip(to):
        to.send_response(200)
        to.send_header("Content-Length", "1000")
        to.end_headers()
        for _ in range(1000):
            if service.release.wait(0.06):
                return True
            try:
                to.wfile.write(b" ")
            except OSError:
                return True
        return True

    service.answers["/globalTagPayloads"] = drip
    source = RestSource(service.address, timeout=0.3, attempts=2, pause=waits.append)
    begin = time.monotonic()
    with pytest.raises(SourceUnavailable, match="no whole answer within"):
        source.fetch(SECOND)
    assert time.monotonic() - begin < 5


def test_nothing_there_is_unavailable(waits):
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        source = RestSource(f"http://127.0.0.1:{port}/rest", timeout=1, attempts=2, pause=waits.append)
        with pytest.raises(SourceUnavailable, match="2 attempts"):
            source.fetch(SECOND)


# Addresses, redirects, tokens


def test_a_redirect_is_followed(source, service):
    def move(to):
        target = to.path.replace("/rest/", "/moved/")
        return to.reply(302, b"", Location=target)

    service.answers[f"/rest/v2/globalTag/{SECOND}/globalTagPayloads"] = move
    service.answers[f"/moved/v2/globalTag/{SECOND}/globalTagPayloads"] = lambda to: to.reply(
        200, json.dumps(service.canned[SECOND]).encode()
    )
    assert len(source.fetch(SECOND).iovs) == 6


def test_a_redirect_in_a_circle_ends(source, service):
    service.answers["/globalTagPayloads"] = lambda to: to.reply(307, b"", Location=to.path)
    with pytest.raises(SourceUnavailable, match="5 redirects"):
        source.fetch(SECOND)
    assert len(service.seen) == 1 + 6


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://a:b@127.0.0.1/", "http://[::"]
)
def test_a_redirect_to_where_nobody_should_go_is_refused(source, service, target):
    service.answers["/globalTagPayloads"] = lambda to: to.reply(302, b"", Location=target)
    with pytest.raises(SourceUnavailable):
        source.fetch(SECOND)


def test_a_token_goes_to_its_own_host_and_nowhere_else(service, shared_data):
    other = Service(shared_data / "belle2" / "conditions")
    server = serve(other)
    try:
        elsewhere = f"http://127.0.0.1:{server.server_port}"
        service.answers["/globalTagPayloads"] = lambda to: to.reply(302, b"", Location=elsewhere + to.path)
        source = RestSource(service.address, SECRET)
        assert len(source.fetch(SECOND).iovs) == 6
        assert {headers.get("X-Authorization") for _, headers in service.seen} == {f"Bearer {SECRET}"}
        assert other.seen
        assert all("X-Authorization" not in headers for _, headers in other.seen)
        assert SECRET not in repr(source) + str(vars(source))
    finally:
        server.shutdown()
        server.server_close()


def test_a_token_is_not_sent_over_plain_http():
    plain = JsonReader("http://conditions.example.org/v2/", {}, SECRET)
    assert plain._bases == ["https://conditions.example.org/v2/"]
    assert "X-Authorization" not in plain._choose_headers("http://conditions.example.org/v2/x")
    assert "X-Authorization" in JsonReader("https://conditions.example.org/", {}, SECRET)._choose_headers(
        "https://conditions.example.org/x"
    )


def test_https_is_tried_first_and_plain_http_taken_where_there_is_none(service, waits):
    """Only here a loopback server stands for one of plain http; the reader would not try https on this machine."""
    source = RestSource(service.address, timeout=5, attempts=1, pause=waits.append)
    plain = source._http.base
    source._http._bases = [plain.replace("http:", "https:"), plain]
    assert len(source.fetch(SECOND).iovs) == 6
    assert source._http._bases == [plain]
    assert JsonReader("http://conditions.example.org/", {})._bases == [
        "https://conditions.example.org/",
        "http://conditions.example.org/",
    ]


@pytest.mark.parametrize("token", ["", "a b", "a\nX-Evil: 1", "ä"])
def test_a_token_that_no_header_may_hold_is_refused_and_not_told(token):
    with pytest.raises(SourceUnavailable, match="the token has characters") as caught:
        RestSource("https://conditions.example.org", token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://u:geheim@x.example.org/", "http://", "https://x:99999999/", "http://[::"]
)
def test_addresses_that_are_refused(address):
    with pytest.raises(SourceUnavailable) as caught:
        RestSource(address)
    assert "geheim" not in str(caught.value)
