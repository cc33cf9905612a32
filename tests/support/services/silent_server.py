"""A server that stops answering: a gate before it accepts everything and passes nothing on."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator


class Gate:
    """A port before another port. While it is `shut`, it keeps and accepts connections, but passes nothing on."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._open = threading.Event()
        self._open.set()
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._ended.set()
        self._open.set()
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(front,), daemon=True).start()

    def _pass_on(self, front: socket.socket) -> None:
        with front, contextlib.suppress(OSError):
            self._open.wait()
            with socket.create_connection(("127.0.0.1", self._behind)) as back:
                other = {front: back, back: front}
                while not self._ended.is_set():
                    for ready in select.select([front, back], [], [], 0.1)[0]:
                        self._open.wait()
                        if not (data := ready.recv(65536)):
                            return
                        other[ready].sendall(data)


@contextlib.contextmanager
def gate_before(address: str) -> Iterator[tuple[Gate, str]]:
    """A gate before the server of a database, and the address of that database through it."""
    lead, _, rest = address.rpartition(":")
    port, _, name = rest.partition("/")
    gate = Gate(int(port))
    try:
        yield gate, f"{lead}:{gate.port}/{name}"
    finally:
        gate.close()
