"""The server of metrics: it limits the number of connections, and the time of each."""

from __future__ import annotations

import contextlib
import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

CONNECTIONS = 16
"""The most connections at a time; a further one is closed at once, and the scraper tries again."""

PATIENCE = 5.0
"""Seconds for which a connection may be silent."""

LONGEST = 20.0
"""Seconds after which a connection ends in any case; else a slow client could keep its place for ever."""


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, *_: Any) -> None:
        """Does nothing: nobody needs a log line for every scrape."""


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Serves a registry at `host` and `port` (0: any that is free), in threads that end with the process.

    Without a limit, a thousand idle connections would use up the open files that the reconciler may have.

    Raises:
        OSError: the port is in use, or not allowed.
    """

    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((host, port), _Handler)
        self.set_app(make_wsgi_app(registry))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own, if there is room for one more."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection in its thread, for at most `LONGEST` seconds."""
        end = threading.Timer(LONGEST, self._break, (request,))
        end.daemon = True
        try:
            end.start()
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def _break(self, request: Any) -> None:
        with contextlib.suppress(OSError):  # it was closed just now
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Does nothing: an error of a client is not an error of the server."""

    def start(self) -> None:
        """Starts serving."""
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        """Stops serving, and frees the port."""
        self.shutdown()
        self.server_close()
