"""The one client for HTTP, against services on this machine that drip, never end, or send far more than they seem to."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc

import pytest

from reconciler.datasets.catalogues.rucio_server import RucioCredentials, RucioServer
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.http import HttpClient, NoAnswer, NotSent, TooLarge
from reconciler.outside.json_reader import JsonReader

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

SECONDS = 0.4
LIMIT = 1 << 20
BOMB = gzip.compress(bytes(100 * LIMIT))


@pytest.fixture
def serve():
    """Makes a service of a function that writes to a connection, after a request has come in; returns its address."""
    listening, ended = [], threading.Event()

    def play(connection, write):
        with connection:
            try:
                connection.settimeout(5)
                data = b""
                while b"\r\n\r\n" not in data:
                    if not (part := connection.recv(4096)):
                        return
                    data += part
                if data.startswith(b"GET /auth/"):
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nX-Rucio-Auth-Token: t\r\nContent-Length: 0\r\n\r\n"
                    )
                else:
                    write(connection, ended)
            except OSError:
                pass

    def accept(listener, write):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=play, args=(connection, write), daemon=True).start()

    def make(write):
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)
        threading.Thread(target=accept, args=(listener, write), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield make
    ended.set()
    for listener in listening:
        listener.close()


def drip(begin):
    """Sends the beginning of an answer, then a byte at a time, each long before a time-out between two bytes."""

    def write(connection, ended):
        connection.sendall(begin)
        while not ended.wait(0.05):
            connection.sendall(b" ")

    return write


def flood(connection, ended):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        connection.sendall(bytes(1 << 16))


def bomb(connection, _):
    """A hundred megabytes of nothing, in a hundred kilobytes."""
    body = BOMB
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def silent(_, ended):
    ended.wait(5)


SLOW = {
    "silence": silent,
    "a status line that drips": drip(b"HTTP/1.1 200 "),
    "a header that drips": drip(b"HTTP/1.1 200 OK\r\nX-A: "),
    "a body that drips": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
    "chunks that drip": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("write", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize(
    "ask",
    [
        lambda url: HttpClient().send("GET", url, SECONDS),
        lambda url: JsonReader(f"{url}/", {}, timeout=SECONDS, attempts=1).get("x"),
        lambda url: RucioServer(
            url, "prod", RucioCredentials("u", "p"), timeout=SECONDS, pause=lambda _: None
        ).call("GET", "/dids/x"),
    ],
    ids=["client", "json", "rucio"],
)
def test_every_wait_ends(serve, write, ask):
    begun = time.monotonic()
    with pytest.raises((NoAnswer, SourceUnavailable), match="within"):
        ask(serve(write))
    assert time.monotonic() - begun < 10, "three attempts of the slowest, with time for a busy machine"


@pytest.mark.parametrize("write", [flood, bomb])
def test_an_answer_that_is_too_large_is_not_taken_into_memory(serve, write):
    address = serve(write)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="larger than 1 MiB"):
            HttpClient(LIMIT).send("GET", address, 30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * LIMIT


def test_a_coding_that_was_not_asked_for_is_refused(serve):
    address = serve(
        lambda connection, _: connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 2\r\n\r\n{}"
        )
    )
    with pytest.raises(NoAnswer, match="coded as 'zstd'"):
        HttpClient().send("GET", address, 5)


def test_an_answer_that_breaks_off_is_none(serve):
    address = serve(
        lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    )
    with pytest.raises(NoAnswer):
        HttpClient().send("POST", address, 5, data={"order": 1})


@pytest.mark.parametrize("cut", [10, 0])
def test_a_compressed_answer_is_whole_or_none(serve, cut):
    packed = gzip.compress(b"[1, 2]")
    sent = packed[: len(packed) - cut]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(sent)}\r\n\r\n"
    address = serve(lambda connection, _: connection.sendall(head.encode() + sent))
    if cut:
        with pytest.raises(NoAnswer):
            HttpClient().send("GET", address, 5)
    else:
        assert HttpClient().send("GET", address, 5).read_json() == [1, 2]


def test_where_nobody_listens_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent):
        HttpClient().send("POST", f"http://127.0.0.1:{port}/", 5, data={"order": 1})


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::", "nonsense", "http:///x"])
def test_what_is_no_address_is_told_as_such(url):
    with pytest.raises(NotSent):
        HttpClient().send("GET", url, 1)


def test_an_address_is_told_without_its_query_where_signatures_are(serve):
    with pytest.raises(NoAnswer) as caught:
        HttpClient().send("GET", f"{serve(silent)}/sandbox?signature=secret", SECONDS)
    assert "secret" not in str(caught.value)
