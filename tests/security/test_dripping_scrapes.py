"""Connections to the metrics port that never finish what they ask for keep nobody else away."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from reconciler.outside import metrics_server
from tests.support.worlds.processes import wait_until


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_connections_that_drip_do_not_keep_their_places(monkeypatch):
    monkeypatch.setattr(metrics_server, "LONGEST", 1.0)
    server = metrics_server.MetricsServer("127.0.0.1", 0, CollectorRegistry())
    server.start()
    stop = threading.Event()
    drips = [socket.create_connection(server.server_address) for _ in range(metrics_server.CONNECTIONS)]

    def drip() -> None:
        while not stop.wait(0.1):
            for one in drips:
                with contextlib.suppress(OSError):
                    one.send(b"G")

    dripping = threading.Thread(target=drip)
    dripping.start()

    def is_served() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        wait_until(is_served)
    finally:
        stop.set()
        dripping.join()
        for one in drips:
            one.close()
        server.close()
