"""A service on this machine that answers as a test's `service` says, and records requests.

A service has `find(path, query)` for its normal answers (status and JSON), `answers` (a path's ending → what replaces
its normal answer) and `seen` (path and headers of every request).
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        service = self.server.service
        parts = urlsplit(self.path)
        service.seen.append((parts.path, dict(self.headers)))
        for ending, replacement in service.answers.items():
            if parts.path.endswith(ending) and replacement(self):
                return
        status, data = service.find(parts.path, parse_qs(parts.query))
        self.reply(status, json.dumps(data).encode())

    def reply(self, status, body, kind="application/json", length=None, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None
        return True

    def log_message(self, *arguments):
        pass


def serve(service):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.service = service
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
