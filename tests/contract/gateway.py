"""A gateway before a real HTTP service, on loopback: it passes everything on, or plays a fault on some of it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>please wait ...</body></html>"
_PASSED = ("content-type", "content-range", "date")


class Gateway(ThreadingHTTPServer):
    """Stands for the service at `target`; `calls` are the method and path of every request that it had.

    A fault is a function of a handler and the real answer's maker; it sends what it likes, or nothing.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.pool = urllib3.PoolManager(retries=False, maxsize=8)
        self.calls: list[str] = []
        self.faults: list[tuple[re.Pattern[str], Callable[[_Handler], None]]] = []
        self.ended = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @contextlib.contextmanager
    def fault(self, pattern: str, play: Callable[[_Handler], None]) -> Iterator[None]:
        """Plays a fault on requests `METHOD /path` that match, as long as the context lasts."""
        self.ended.clear()
        self.faults.append((re.compile(pattern), play))
        try:
            yield
        finally:
            self.faults.pop()
            self.ended.set()

    def close(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()
        self.pool.clear()

    def handle_error(self, request, client_address) -> None:
        """A client that went away is not news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def _answer(self) -> None:
        self.asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        what = f"{self.command} {self.path}"
        self.server.calls.append(what)
        for pattern, play in self.server.faults:
            if pattern.match(what):
                play(self)
                return
        self.give(*self.get())

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 -- the names that http.server calls

    def get(self) -> tuple[int, dict[str, str], bytes]:
        """The real answer."""
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}
        }
        real = self.server.pool.request(
            self.command,
            self.server.target + self.path,
            body=self.asked,
            headers=headers,
            timeout=60,
            redirect=False,
        )
        return real.status, {name: real.headers[name] for name in _PASSED if name in real.headers}, real.data

    def give(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Breaks the connection without a word."""
        self.close_connection = True
        self.connection.close()

    def log_message(self, *arguments) -> None:
        pass


def answer(status: int, body: bytes = HTML, kind: str = "text/html"):
    """Another answer, instead of the real one."""
    return lambda handler: handler.give(status, {"content-type": kind}, body)


def refuse(status: int, detail: str):
    """The service's own refusal, as it words it."""
    return answer(status, json.dumps({"detail": detail}).encode(), "application/json")


def after(status: int | None, body: bytes = HTML):
    """The service gets the request; back comes something else, or (None) a broken connection."""

    def play(handler):
        handler.get()
        if status is None:
            handler.drop()
        else:
            handler.give(status, {"content-type": "text/html"}, body)

    return play


def change(how: Callable[[bytes], bytes]):
    """The real answer, its body changed."""

    def play(handler):
        status, headers, body = handler.get()
        handler.give(status, headers, how(body))

    return play


def hang(*, forward: bool):
    """No answer as long as the fault lasts; the service gets the request, or not."""

    def play(handler):
        if forward:
            handler.get()
        handler.server.ended.wait(60)
        handler.drop()

    return play


def drop(handler) -> None:
    handler.drop()
